package hudson.model

import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import java.util.concurrent.locks.ReentrantLock

class Label {
  String expression
  String getName() { expression }
}

class TaskListener {}

class Node {
  String nodeName
  Set<Label> assignedLabels
}

class Computer {
  public static final ExecutorService threadPoolForRemoting = Executors.newCachedThreadPool()
  Node node
  boolean acceptingTasks = true
  String getName() { node?.nodeName ?: '' }
}

class Executor {
  Computer owner
  Queue.Executable currentExecutable
}

class OneOffExecutor extends Executor {}

interface ExecutorListener {
  void taskAccepted(Executor executor, Queue.Task task)
  void taskStarted(Executor executor, Queue.Task task)
  void taskCompleted(Executor executor, Queue.Task task, long durationMs)
  void taskCompletedWithProblems(Executor executor, Queue.Task task, long durationMs, Throwable problems)
}

class Queue {
  static interface Task {
    String getUrl()
  }
  static interface Executable {}
  static abstract class Item {
    long id
    Label assignedLabel
    boolean isBuildable() { false }
    boolean isBlocked() { false }
  }
  static class WaitingItem extends Item {}
  static class BlockedItem extends Item {
    @Override boolean isBlocked() { true }
  }
  static class BuildableItem extends Item {
    @Override boolean isBuildable() { true }
  }
  static class LeftItem extends Item {
    boolean cancelled
  }

  private static final ReentrantLock LOCK = new ReentrantLock()
  static void withLock(Runnable runnable) {
    LOCK.lock()
    try { runnable.run() } finally { LOCK.unlock() }
  }
  static boolean isLocked() { LOCK.heldByCurrentThread }

  List<Item> list = []
  boolean wasReadUnderLock
  int maintained
  Item[] getItems() {
    wasReadUnderLock = isLocked()
    return list as Item[]
  }
  void scheduleMaintenance() { ++maintained }
}
