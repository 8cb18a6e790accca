// skep-companion 1 wait
// Changes nothing. Answers when there is an event numbered `from` or later, at the latest after `millis`.
def from = 1L, millis = 30000L
def l = hudson.ExtensionList.lookup(hudson.model.queue.QueueListener).find { it.class.name == 'SkepQueueV1' }
if (l == null) { println 'skep-companion absent'; return null }
if (from > l.hub.next) millis = 0L  // a number that this installation has not given out: its reader has to start anew
def r = l.hub.since(from, millis)
def quiet = ''
try { if (jenkins.model.Jenkins.get().isQuietingDown()) quiet = ' quiet' } catch (Throwable e) { }
println "skep-companion 1 ${l.hub.boot} ${r[0]} ${r[1]}${quiet}"
r[2].each { println it }
null
