package hudson.model.queue

import hudson.model.Queue

abstract class QueueListener {
  void onEnterWaiting(Queue.WaitingItem item) {}
  void onLeaveWaiting(Queue.WaitingItem item) {}
  void onEnterBlocked(Queue.BlockedItem item) {}
  void onLeaveBlocked(Queue.BlockedItem item) {}
  void onEnterBuildable(Queue.BuildableItem item) {}
  void onLeaveBuildable(Queue.BuildableItem item) {}
  void onLeft(Queue.LeftItem item) {}
}
