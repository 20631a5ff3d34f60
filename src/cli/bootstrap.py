import os, runpy, sys

def refuse(message):
    sys.stderr.write("amboss: " + message + "\n")
    sys.exit(2)

python = sys.executable
if sys.version_info < (3, 9):
    version = "%d.%d" % sys.version_info[:2]
    refuse(python + " is Python " + version + ", but amboss needs 3.9 or newer; name another one with --python PATH")
if sys.path[:1] == [""]:
    sys.path[0] = os.getcwd()
try:
    import amboss
    missing = amboss.__file__ is None
except ImportError as error:
    if error.name != "amboss":
        raise
    missing = True
if missing:
    # No package index has the package yet. Its sources lie beside those of this command.
    source, where = "SOURCE", ""
    if not os.path.isdir(source):
        source, where = "./crates/python", " (in amboss's source tree)"
    refuse("amboss is not installed for " + python + "; run: " + python + " -m pip install " + source + where)
package = getattr(amboss, "__version__", "VERSION")
if package != "VERSION":
    difference = "this command is VERSION, the package of %s is %s; options may differ" % (python, package)
    sys.stderr.write("amboss: " + difference + "\n")
runpy.run_module("amboss", run_name="__main__", alter_sys=True)
