package hudson.slaves

import hudson.model.Computer
import hudson.model.TaskListener

class OfflineCause {}

class SlaveComputer extends Computer {}

abstract class ComputerListener {
  void onOnline(Computer computer, TaskListener listener) {}
  void onOffline(Computer computer, OfflineCause cause) {}
  void onTemporarilyOnline(Computer computer) {}
  void onTemporarilyOffline(Computer computer, OfflineCause cause) {}
}
