package hudson

class ExtensionList<T> extends java.util.concurrent.CopyOnWriteArrayList<T> {
  private static final Map<Class, ExtensionList> ALL = [:]

  static synchronized ExtensionList lookup(Class type) {
    if (!ALL.containsKey(type)) ALL[type] = new ExtensionList()
    return ALL[type]
  }
}
