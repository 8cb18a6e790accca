package jenkins.model

import hudson.model.Node
import hudson.model.Queue

class Jenkins {
  private static final Jenkins INSTANCE = new Jenkins()
  static Jenkins get() { INSTANCE }

  final Queue queue = new Queue()
  boolean quietingDown
  final List<String> removed = Collections.synchronizedList([])
  void removeNode(Node node) {
    synchronized (removed) {
      removed << node.nodeName
      removed.notifyAll()
    }
  }
}
