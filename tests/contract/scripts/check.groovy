// Runs the scripts that Skep posts to a script console, as a console does: each in a shell and a class loader of its own.
// This file plays the controller around them: calls their listeners in the order of the recordings and reads what they
// print. Argument: the folder with the scripts. The last line is `N passed, N failed`.
import hudson.ExtensionList
import hudson.model.*
import hudson.model.queue.QueueListener
import hudson.slaves.*
import jenkins.model.Jenkins

folder = new File(args[0])
passed = 0
failed = 0

String post(String name, Map<String, String> replace = [:]) {
  String text = new File(folder, name).getText('UTF-8')
  replace.each { from, to ->
    assert text.contains(from)
    text = text.replace(from, to)
  }
  def written = new StringWriter()
  def shell = new GroovyShell()
  shell.setVariable('out', new PrintWriter(written, true))
  shell.evaluate(text)
  return written.toString()
}
String await(long from, long millis = 0) {
  post('wait.groovy', ['from = 1L, millis = 30000L': "from = ${from}L, millis = ${millis}L".toString()])
}
List<String> lines(String text) { text.readLines() }
List of(Class type) { ExtensionList.lookup(type) }
List<String> names(Class type) { of(type)*.class*.name }

void check(String what, Closure<Boolean> holds) {
  def problem = null
  try {
    if (!holds()) problem = 'it does not hold'
  } catch (Throwable thrown) {
    problem = thrown.toString()
  }
  if (problem == null) {
    ++passed
  } else {
    ++failed
    println "FAILED: ${what}: ${problem}"
  }
}

void reset() {
  [QueueListener, ComputerListener, ExecutorListener].each { of(it).clear() }
  def jenkins = Jenkins.get()
  jenkins.queue.list.clear()
  jenkins.removed.clear()
  jenkins.quietingDown = false
}
def item(Class type, long id, String label) {
  type.newInstance(id: id, assignedLabel: label == null ? null : new Label(expression: label))
}
def computer(String name, String... labels) {
  new SlaveComputer(node: new Node(nodeName: name, assignedLabels: labels.collect { new Label(expression: it) } as Set))
}
class Block implements Queue.Executable {
  String url
  boolean goesOn
  boolean willContinue() { goesOn }
}
class Build implements Queue.Executable {
  String url
}
def task(String path) { [getUrl: { path }] as Queue.Task }
boolean isRemoved(String node) {
  def removed = Jenkins.get().removed
  synchronized (removed) {
    for (int i = 0; i < 50 && !(node in removed); ++i) removed.wait(100)
    return node in removed
  }
}

check('nothing is installed: a wait says so') { await(1) == 'skep-companion absent\n' }
check('removing what is not there') { post('remove.groovy') == 'skep-companion removed\n' }

// The course of scenario 23, with the paths that are ours beside it.
reset()
def jenkins = Jenkins.get()
jenkins.queue.list = [item(Queue.BuildableItem, 7, 'linux && x86'), item(Queue.WaitingItem, 8, null), item(Queue.BlockedItem, 9, 'a\r\nb')]
def base = lines(post('install.groovy'))
def boot = base[0].split(' ')[2]
check('an installation prints the next number and the queue') {
  base == ["skep-companion 1 ${boot} 1".toString(), '7 buildable linux && x86', '8 waiting ', '9 blocked a  b', 'end 3']
}
check('the queue is read under its lock') { jenkins.queue.wasReadUnderLock }
check('no event yet') { await(1) == "skep-companion 1 ${boot} 1 1\n" }

def first = computer('cp0', 'g1', 'big', 'skep-one-build')
def executor = new Executor(owner: first)
of(QueueListener).each {
  it.onEnterWaiting(item(Queue.WaitingItem, 504, 'g1'))
  it.onEnterBuildable(item(Queue.BuildableItem, 504, 'g1'))
}
of(ComputerListener).each { it.onOnline(first, null) }
of(QueueListener).each { it.onLeft(item(Queue.LeftItem, 504, 'g1')) }
of(ExecutorListener).each { it.taskAccepted(executor, task('job/p/1/')) }
check('an agent of ours takes no more') { !first.acceptingTasks }
executor.currentExecutable = new Build(url: 'job/p/1/')
of(ExecutorListener).each { it.taskStarted(executor, task('job/p/1/')) }
of(ExecutorListener).each { it.taskCompleted(executor, task('job/p/1/'), 5) }
check('and is removed at the end') { isRemoved('cp0') }
of(ComputerListener).each { it.onOffline(first, new OfflineCause()) }
def told = ['1 waiting 504 g1', '2 buildable 504 g1', '3 online cp0', '4 left 504 g1', '5 accepted cp0 job/p/1/', '6 completed cp0 job/p/1/', '7 offline cp0']
check('a wait tells it in order') { lines(await(1)) == ["skep-companion 1 ${boot} 1 8".toString()] + told }
check('from a number on') { lines(await(5)) == ["skep-companion 1 ${boot} 1 8".toString()] + told.drop(4) }
check('a number that was never given out is answered at once') {
  long began = System.nanoTime()
  def answer = await(99, 60000)
  answer == "skep-companion 1 ${boot} 1 8\n" && System.nanoTime() - began < 30_000_000_000L
}
check('a wait ends with the next event') {
  def other = Thread.start { sleep(200); of(ComputerListener).each { it.onTemporarilyOffline(first, null); it.onTemporarilyOnline(first) } }
  long began = System.nanoTime()
  def found = lines(await(8, 60000))
  other.join()
  found[1] == '8 closed cp0' && System.nanoTime() - began < 30_000_000_000L
}
check('what was cancelled is no build') {
  of(QueueListener).each { it.onLeft(new Queue.LeftItem(id: 9, cancelled: true)) }
  lines(await(10))[1] == '10 cancelled 9 '
}
check('a line break in a label breaks no line') {
  of(QueueListener).each { it.onEnterBlocked(item(Queue.BlockedItem, 10, 'x\r\ny')) }
  lines(await(11))[1] == '11 blocked 10 x  y'
}

// The rule of one build.
def block = computer('cp1', 'skep-one-build')
executor = new Executor(owner: block, currentExecutable: new Block(url: 'job/p/2/', goesOn: true))
of(ExecutorListener).each { it.taskAccepted(executor, task('job/p/2/')) }
of(ExecutorListener).each { it.taskCompletedWithProblems(executor, task('job/p/2/'), 5, new InterruptedException()) }
check('a block that goes on after a restart keeps its agent') { lines(await(13))[1] == '13 continues cp1' && !('cp1' in jenkins.removed) }
executor.currentExecutable.goesOn = false
of(ExecutorListener).each { it.taskCompletedWithProblems(executor, task('job/p/2/'), 5, new IOException('x')) }
check('one that is over does not') { isRemoved('cp1') && lines(await(14))[1] == '14 completed cp1 job/p/2/' }
def others = computer('theirs', 'linux')
of(ExecutorListener).each {
  it.taskAccepted(new Executor(owner: others), task('job/q/1/'))
  it.taskCompleted(new Executor(owner: others), task('job/q/1/'), 5)
  it.taskAccepted(new OneOffExecutor(owner: block), task('job/p/3/'))
}
check("others' agents and flyweight tasks are left alone") { others.acceptingTasks && lines(await(15)).size() == 1 && jenkins.removed == ['cp0', 'cp1'] }
check('a task whose path cannot be told is told without') {
  of(ExecutorListener).each { it.taskAccepted(new Executor(owner: computer('cp2', 'skep-one-build')), [getUrl: { throw new IllegalStateException() }] as Queue.Task) }
  lines(await(15))[1] == '15 accepted cp2 '
}

// Installed again.
jenkins.queue.list = []
check('again: the same installation, and the queue anew') { post('install.groovy') == "skep-companion 1 ${boot} 16\nend 0\n" }
check('and each listener once') {
  names(QueueListener) == ['SkepQueueV1'] && names(ComputerListener) == ['SkepComputersV1'] && names(ExecutorListener) == ['SkepExecutorsV1']
}
jenkins.quietingDown = true
check('a quiet-down is told') { post('install.groovy').startsWith("skep-companion 1 ${boot} 16 quiet\n") && await(16) == "skep-companion 1 ${boot} 1 16 quiet\n" }
jenkins.quietingDown = false
check('the ring keeps 20,000 and says from where on') {
  def listener = of(QueueListener)[0]
  def any = item(Queue.WaitingItem, 1, 'l')
  20_000.times { listener.onEnterWaiting(any) }
  def found = lines(await(2))
  found[0] == "skep-companion 1 ${boot} 16 20016".toString() && found.size() == 20_001 && found[1] == '16 waiting 1 l'
}

// Half an installation, another version, and the hook.
def old = new GroovyClassLoader().parseClass('class SkepQueueV0 extends hudson.model.queue.QueueListener {}').newInstance()
of(QueueListener).add(old)
of(ComputerListener).clear()
check('half an installation and another version give way to a whole one') {
  def answer = lines(post('install.groovy'))[0]
  !answer.contains(boot) && answer.endsWith(' 1') && names(QueueListener) == ['SkepQueueV1'] &&
      names(ComputerListener) == ['SkepComputersV1'] && names(ExecutorListener) == ['SkepExecutorsV1']
}
check('the hook says its marker, and is put in once') {
  post('hook.groovy').contains('skep-one-build-1 ok') && post('hook.groovy').contains('skep-one-build-1 ok') &&
      names(ExecutorListener).count('SkepOneBuildV1') == 1
}
check('an installation leaves the hook') { post('install.groovy'); 'SkepOneBuildV1' in names(ExecutorListener) }
check('removed is removed, the hook stays') {
  post('remove.groovy') == 'skep-companion removed\n' && await(1) == 'skep-companion absent\n' && of(QueueListener).empty &&
      of(ComputerListener).empty && names(ExecutorListener) == ['SkepOneBuildV1']
}
def last = computer('cp3', 'skep-one-build')
executor = new Executor(owner: last, currentExecutable: new Block(goesOn: true))
of(ExecutorListener).each { it.taskAccepted(executor, task('job/p/4/')) }
check('the hook keeps the rule by itself') { !last.acceptingTasks }
of(ExecutorListener).each { it.taskCompleted(executor, task('job/p/4/'), 5) }
check('a block that goes on keeps its agent with the hook, too') { !('cp3' in jenkins.removed) }
executor.currentExecutable = new Build(url: 'job/p/4/')
of(ExecutorListener).each { it.taskCompleted(executor, task('job/p/4/'), 5) }
check('and the hook removes it at the end') { isRemoved('cp3') }

// The small ones.
check('the probe says its marker') { post('probe.groovy') == 'skep-script-1 ok\n' }
check('a kick makes the queue look') { post('kick.groovy') == 'skep-kick-1 ok\n' && jenkins.queue.maintained == 1 }
jenkins.queue.list = [item(Queue.BuildableItem, 7, 'a "b"'), item(Queue.WaitingItem, 8, null)]
check('labels are listed as JSON') { lines(post('labels.groovy')) == ['skep-labels-1', '7 "a \\"b\\""', '8 null', 'skep-labels-end'] }

Computer.threadPoolForRemoting.shutdown()
println "${passed} passed, ${failed} failed"
System.exit(failed == 0 ? 0 : 1)
