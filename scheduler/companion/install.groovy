// skep-companion 1 install
// Listeners that number what happens in the queue and on nodes, so that Skep can wait for it instead of asking again
// and again; and the rule that an agent with the label skep-one-build takes one build. Nothing is written to disk:
// a restart of Jenkins ends it, and so does remove.groovy. Posting it again changes nothing and prints the queue again.
import hudson.ExtensionList
import hudson.model.*
import hudson.model.queue.QueueListener
import hudson.slaves.*
import jenkins.model.Jenkins

// The last 20,000 events as lines of text. Whoever waits for a newer one holds no lock but this object's own.
class SkepHubV1 {
  static final int KEEP = 20000
  final String boot = UUID.randomUUID().toString()
  final ArrayDeque ring = new ArrayDeque()
  long next = 1
  synchronized void put(String kind, Object... rest) {
    ring.addLast(([next++, kind] + (rest as List)).join(' ').replace('\n', ' ').replace('\r', ' '))
    if (ring.size() > KEEP) ring.removeFirst()
    notifyAll()
  }
  synchronized List since(long from, long millis) {
    long end = System.currentTimeMillis() + millis
    while (next <= from) { long left = end - System.currentTimeMillis(); if (left <= 0) break; wait(left) }
    long first = next - ring.size(), skip = Math.max(0L, from - first)
    [first, next, ring.toList().drop((int) skip)]
  }
}
// Called under the queue's lock: appends a line, nothing else.
class SkepQueueV1 extends QueueListener {
  final SkepHubV1 hub
  SkepQueueV1(SkepHubV1 h) { hub = h }
  void item(String k, Queue.Item i) { hub.put(k, i.id, i.assignedLabel?.expression ?: '') }
  void onEnterWaiting(Queue.WaitingItem i) { item('waiting', i) }
  void onEnterBlocked(Queue.BlockedItem i) { item('blocked', i) }
  void onEnterBuildable(Queue.BuildableItem i) { item('buildable', i) }
  void onLeft(Queue.LeftItem i) { item(i.cancelled ? 'cancelled' : 'left', i) }
}
class SkepComputersV1 extends ComputerListener {
  final SkepHubV1 hub
  SkepComputersV1(SkepHubV1 h) { hub = h }
  void onOnline(Computer c, TaskListener t) { hub.put('online', c.name) }
  void onOffline(Computer c, OfflineCause o) { hub.put('offline', c.name) }
  void onTemporarilyOnline(Computer c) { hub.put('opened', c.name) }
  void onTemporarilyOffline(Computer c, OfflineCause o) { hub.put('closed', c.name) }
}
// One build: an agent of ours takes no more once it has accepted one, and is removed when that one is over, unless it is
// a pipeline block that goes on after a restart of Jenkins. Other agents are left alone.
class SkepExecutorsV1 implements ExecutorListener {
  final SkepHubV1 hub
  SkepExecutorsV1(SkepHubV1 h) { hub = h }
  boolean ours(Executor e) { !(e instanceof OneOffExecutor) && e.owner instanceof SlaveComputer && e.owner.node?.assignedLabels?.any { it.name == 'skep-one-build' } }
  String path(Object x) { try { return x?.url ?: '' } catch (Throwable e) { return '' } }
  void taskAccepted(Executor e, Queue.Task t) { if (ours(e)) { e.owner.setAcceptingTasks(false); hub.put('accepted', e.owner.name, path(t)) } }
  void taskStarted(Executor e, Queue.Task t) {}
  void taskCompleted(Executor e, Queue.Task t, long ms) { done(e) }
  void taskCompletedWithProblems(Executor e, Queue.Task t, long ms, Throwable x) { done(e) }
  void done(Executor e) {
    if (!ours(e)) return
    def x = e.currentExecutable
    if (x != null && x.metaClass.respondsTo(x, 'willContinue') && x.willContinue()) { hub.put('continues', e.owner.name); return }
    hub.put('completed', e.owner.name, path(x))
    def n = e.owner.node
    Computer.threadPoolForRemoting.submit({ if (n != null) Jenkins.get().removeNode(n) } as Runnable)
  }
}
def queue = ExtensionList.lookup(QueueListener), old = null
def lists = [queue, ExtensionList.lookup(ComputerListener), ExtensionList.lookup(ExecutorListener)]
def current = ['SkepQueueV1', 'SkepComputersV1', 'SkepExecutorsV1']
synchronized (QueueListener) {  // two installations at once put in one
  def whole = (0..2).every { i -> lists[i].findAll { it.class.name == current[i] }.size() == 1 }
  def others = lists.collect { all -> all.findAll { it.class.name ==~ /Skep(Queue|Computers|Executors)V\d+/ && !(whole && it.class.name in current) } }
  if (!whole) {
    def hub = new SkepHubV1()
    lists[2].add(new SkepExecutorsV1(hub))
    lists[1].add(new SkepComputersV1(hub))
    queue.add(new SkepQueueV1(hub))
  }
  // Other versions of these, and half an installation: last, so that the rule has no gap. The hook without events stays
  // beside them: it keeps the rule when these are removed by hand.
  lists.eachWithIndex { all, i -> others[i].each { all.remove(it) } }
  old = queue.find { it.class.name == 'SkepQueueV1' }
}
// The next number and the queue belong together. Under the queue's lock they are exact. Without it (a Jenkins that has no
// withLock) the number is read first: what happens in between is then told once more, never left out.
long next = 0
def items = null
try { Queue.withLock({ synchronized (old.hub) { next = old.hub.next }; items = Jenkins.get().queue.items } as Runnable) } catch (Throwable e) { items = null }
if (items == null) { synchronized (old.hub) { next = old.hub.next }; items = Jenkins.get().queue.items }
def quiet = ''
try { if (Jenkins.get().isQuietingDown()) quiet = ' quiet' } catch (Throwable e) { }
println "skep-companion 1 ${old.hub.boot} ${next}${quiet}"
items.each { println "${it.id} ${it.buildable ? 'buildable' : it.blocked ? 'blocked' : 'waiting'} ${(it.assignedLabel?.expression ?: '').replace('\n', ' ').replace('\r', ' ')}" }
println "end ${items.length}"
null
