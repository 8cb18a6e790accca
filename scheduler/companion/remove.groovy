// skep-companion 1 remove
// Takes out what install.groovy put in, whatever its version. A build that runs goes on. The hook (SkepOneBuildV1) stays.
[[hudson.model.queue.QueueListener, 'Queue'], [hudson.slaves.ComputerListener, 'Computers'], [hudson.model.ExecutorListener, 'Executors']].each { type, part ->
  def all = hudson.ExtensionList.lookup(type)
  all.findAll { it.class.name.startsWith('Skep' + part + 'V') }.each { all.remove(it) }
}
println 'skep-companion removed'
null
