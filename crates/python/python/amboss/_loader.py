"""Loads the application that the command line names: ``module:object`` and its other forms."""

import ast
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Callable, Optional

#: The names that are tried if the target names no object.
DEFAULT_NAMES = ("app", "application")


class TargetError(Exception):
    """The target names no usable application; the message says what to do."""


def load_app(target: str) -> Callable[..., Any]:
    """Imports the application.

    :param target: ``module:object``, ``module:factory()`` or ``module:factory("arg", n=1)`` with literals; the object
        may be a dotted attribute, the module may be a path to a ``.py`` file, and the object may be left out
    :raises TargetError: if the target can't be parsed, or the object is not a WSGI application
    """
    for folder in _working_directory():
        sys.path.insert(0, folder)
    module_name, expression = _split(target)
    module = _import(module_name)
    app = _default(module, target) if expression is None else _evaluate(module, expression, target)
    # ``_default`` returns only callables, so ``expression`` is not ``None`` here.
    if not callable(app):
        hint = ""
        if not expression.endswith(")"):
            hint = "; name a function that takes environ and start_response, or an object with __call__"
        raise TargetError(f"{target!r} is {_article(app)}, which can't be called{hint}")
    _check_signature(app, target, expression)
    application: Callable[..., Any] = app
    return application


def _working_directory() -> list[str]:
    """Returns the working directory, unless modules are searched there first already."""
    return [] if sys.path[:1] in ([""], [os.getcwd()]) else [os.getcwd()]


def locate(target: str) -> tuple[list[str], str]:
    """Returns what :func:`load_app` begins with: the folders that it puts in front of ``sys.path``, one after the other,
    and the name of the module that it imports.

    :param target: as for :func:`load_app`
    :raises TargetError: if the target can't be parsed
    """
    folders = _working_directory()
    name, _ = _split(target)
    if name.endswith(".py") or os.sep in name:
        folder, name = _module_of_file(os.path.abspath(name))
        folders.append(folder)
    return folders, name


def _check_signature(app: Any, target: str, expression: Optional[str]) -> None:
    """Rejects objects whose parameters are not those of a WSGI application, above all factories."""
    try:
        # The server calls the decorated object, so the signature of the function inside does not matter.
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # The signature is not known.
    if [*signature.parameters][:3] == ["scope", "receive", "send"]:
        raise TargetError(f"{target!r} is an ASGI application, and amboss serves WSGI; serve it with an ASGI server")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(signature.parameters.values())
    fits = _binds(signature, None, None)
    # ``def create_app(config=None, debug=False)`` accepts two arguments, but is a factory.
    is_factory = isinstance(app, FunctionType) and all(
        one.kind in positional and one.default is not one.empty and one.name not in ("environ", "start_response")
        for one in parameters[:2]
    )
    if fits and not is_factory:
        return
    message = f"{target!r} can't be called with environ and start_response"
    if inspect.isroutine(app) and (expression is None or not expression.endswith(")")):
        name = expression or getattr(app, "__name__", "app")
        call = f"{name}()" if _binds(signature) else f"{name}(...)"
        module = target if expression is None else target[: -len(expression) - 1]
        message += f"; if it makes the application, write '{module}:{call}'"
        if call.endswith("(...)"):
            message += " with its arguments"
    raise TargetError(message)


def _binds(signature: inspect.Signature, *arguments: Any) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def explain(target: str, error: BaseException) -> str:
    """Returns the message for an error of :func:`load_app`, with the part of the traceback that is the user's code."""
    if isinstance(error, TargetError) and error.__cause__ is None:
        return f"amboss: {error}"
    cause = error.__cause__ if isinstance(error, TargetError) and error.__cause__ is not None else error
    lines = traceback.format_exception(type(cause), cause, _user_traceback(cause))
    message = str(error) if isinstance(error, TargetError) else f"{target!r} can't be imported"
    return "".join(lines) + f"amboss: {message}"


def _user_traceback(error: BaseException) -> Any:
    """Returns the traceback without the leading frames of this module and of the import system."""
    frames = error.__traceback__
    while frames is not None:
        path = frames.tb_frame.f_code.co_filename
        if path != __file__ and not path.startswith("<frozen importlib") and "importlib" not in path:
            return frames
        frames = frames.tb_next
    return None


def _split(target: str) -> tuple[str, Any]:
    # A path may contain colons before the file name; an expression contains none before its arguments.
    end = target.find(".py:")
    if end >= 0:
        return target[: end + 3], target[end + 4 :] or None
    if target.endswith(".py") or os.sep in target.split("(", 1)[0].split(":", 1)[0]:
        return target, None
    module, _, expression = target.partition(":")
    if not module:
        raise TargetError(f"{target!r} names no module; write module:object, as in myproject:app")
    return module, expression or None


def _import(name: str) -> ModuleType:
    if name.endswith(".py") or os.sep in name:
        return _import_file(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Report the module itself as missing, but not a module that it imports.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise TargetError(f"there is no module {error.name!r}; {_instead(name)}") from None
        raise


def _instead(name: str) -> str:
    """Suggests what to write instead of a missing module: perhaps a dot was written in place of the colon."""
    module, _, attribute = name.rpartition(".")
    if module and hasattr(sys.modules.get(module), attribute):
        return f"write '{module}:{attribute}'"
    return f"was the command started in the project's folder ({os.getcwd()})?"


def _import_file(path: str) -> ModuleType:
    full = os.path.abspath(path)
    if os.path.isdir(full):
        raise TargetError(f"{path!r} is a folder; {_inside(path, full)}")
    if not os.path.isfile(full):
        raise TargetError(f"there is no file {path!r}; fix the path, or name a module")
    if not full.endswith(".py"):
        raise TargetError(f"{path!r} is not a Python file; name one that ends with .py")
    folder, name = _module_of_file(full)
    # Python also puts the directory of a script first.
    sys.path.insert(0, folder)
    if all(part.isidentifier() for part in name.split(".")) and name not in sys.modules:
        module = importlib.import_module(name)
        if getattr(module, "__file__", None) == full:
            return module
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path!r} can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _module_of_file(full: str) -> tuple[str, str]:
    """Returns the folder in which the import system finds a source file, and the name of its module."""
    folder, name = os.path.split(full[: -len(".py")])
    if name == "__init__":
        folder, name = os.path.split(folder)
    # A file in a package is imported as part of it, so that it can use relative imports.
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = f"{package}.{name}"
    return folder, name


def _inside(path: str, folder: str) -> str:
    """Suggests what to name instead of a folder."""
    if os.path.isfile(os.path.join(folder, "__init__.py")):
        shown = os.path.normpath(path)
        if shown.replace(os.sep, "").isidentifier() and not os.path.isabs(shown):
            return f"name the package: {shown.replace(os.sep, '.')}"
        return f"name the package's file: {os.path.join(path, '__init__.py')}"
    files = sorted(name for name in os.listdir(folder) if name.endswith(".py"))
    # The usual names of applications come first.
    files.sort(key=lambda name: name not in ("app.py", "wsgi.py", "application.py", "main.py"))
    if not files:
        return f"name a .py file, or a module; to serve its files, write {os.path.join('.', path)}"
    return f"name a file in it, as in {os.path.join(path, files[0])}"


def _default(module: ModuleType, target: str) -> Any:
    found = [(name, getattr(module, name)) for name in DEFAULT_NAMES if hasattr(module, name)]
    for _, value in found:
        if callable(value):
            return value
    if found:
        name, value = found[0]
        raise TargetError(
            f"'{target}:{name}' is {_article(value)}, which can't be called; name the object: "
            f"{target}:object{_others(module)}"
        )
    if getattr(module, "__file__", None) is None and list(getattr(module, "__path__", [])):
        folder = next(iter(module.__path__))
        raise TargetError(f"{target!r} is a folder; {_inside(os.path.relpath(folder), folder)}")
    raise TargetError(
        f"{module.__name__!r} has neither 'app' nor 'application'; name the object: {target}:object{_others(module)}"
    )


def _others(module: ModuleType, wanted: Optional[str] = None) -> str:
    """Lists objects of the module that may be meant: those with a similar name first, then the default names."""
    names: list[str] = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and _is_defined_in(module, name, value)
    ]
    similar = difflib.get_close_matches(wanted, names) if wanted else []
    names.sort(key=lambda name: (similar.index(name) if name in similar else len(similar), name not in DEFAULT_NAMES))
    return f" (available: {', '.join(names[:5])})" if names else ""


def _is_defined_in(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a value was made in this module, and not imported into it."""
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return getattr(value, "__module__", None) == module.__name__
    # Other objects don't know their module. If one was imported, another module has it under the same name.
    others = [other for other in list(sys.modules.values()) if isinstance(other, ModuleType) and other is not module]
    return not any(vars(other).get(name) is value for other in others)


def _evaluate(module: ModuleType, expression: str, target: str) -> Any:
    wrong = f"{expression!r} does not name an object; write object, object.attribute or factory('argument', n=1)"
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        raise TargetError(wrong) from None
    if not isinstance(node, ast.Call):
        return _attribute(module, node, wrong)
    factory = _attribute(module, node.func, wrong)
    try:
        args = [ast.literal_eval(arg) for arg in node.args]
        kwargs = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
        if len(kwargs) != len(node.keywords):
            raise ValueError
    except ValueError:
        raise TargetError(
            f"the arguments in {expression!r} must be literals: strings, numbers, True, None, lists ..."
        ) from None
    if not callable(factory):
        raise TargetError(
            f"{target!r}: the factory is {_article(factory)}, which can't be called; leave out the parentheses"
        )
    try:
        return factory(*args, **kwargs)
    except Exception as error:
        raise TargetError(f"the factory in {target!r} failed") from error


def _attribute(module: ModuleType, node: ast.expr, wrong: str) -> Any:
    if isinstance(node, ast.Name):
        holder, name = module, node.id
    elif isinstance(node, ast.Attribute):
        holder, name = _attribute(module, node.value, wrong), node.attr
    else:
        raise TargetError(wrong)
    try:
        return getattr(holder, name)
    except AttributeError:
        more = _others(module, name) if holder is module else ""
        what = f"module {module.__name__!r}" if holder is module else _article(holder)
        raise TargetError(f"{what} has no {name!r}{more}") from None


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"an object of type {name!r}"
