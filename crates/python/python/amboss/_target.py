"""Finds the application that the command line names: ``module:object`` and its other forms."""

import ast
import importlib
import importlib.util
import os
import sys
import traceback
from types import ModuleType
from typing import Any, Callable, List, Tuple

#: What is looked for when no object is named.
NAMES = ("app", "application")


class TargetError(Exception):
    """The text names no application; the message says what to do."""


def load(target: str) -> Callable[..., Any]:
    """Imports the application.

    :param target: ``module:object``, ``module:factory()``, ``module:factory("arg", n=1)`` with literals, dotted
        attributes, a path to a ``.py`` file in place of the module, or the module alone
    :raises TargetError: when the text, or the object, can't be used
    """
    if sys.path[:1] not in ([""], [os.getcwd()]):
        sys.path.insert(0, os.getcwd())
    module_name, expression = _split(target)
    module = _import(module_name)
    app = _default(module, target) if expression is None else _evaluate(module, expression, target)
    if not callable(app):
        hint = ""
        if expression is not None and not expression.endswith(")"):
            hint = "; name a function that takes environ and start_response, or an object with __call__"
        raise TargetError(f"{target!r} is {_article(app)}, which can't be called{hint}")
    application: Callable[..., Any] = app
    return application


def explain(target: str, error: BaseException) -> str:
    """A sentence, and the traceback as far as it is the user's."""
    if isinstance(error, TargetError) and error.__cause__ is None:
        return f"amboss: {error}"
    cause = error.__cause__ if isinstance(error, TargetError) and error.__cause__ is not None else error
    lines = traceback.format_exception(type(cause), cause, _theirs(cause))
    sentence = str(error) if isinstance(error, TargetError) else f"{target!r} can't be imported"
    return "".join(lines) + f"amboss: {sentence}"


def _theirs(error: BaseException) -> Any:
    """The traceback without this module's frames and the import system's, up to the first of somebody else."""
    frames = error.__traceback__
    while frames is not None:
        path = frames.tb_frame.f_code.co_filename
        if path != __file__ and not path.startswith("<frozen importlib") and "importlib" not in path:
            return frames
        frames = frames.tb_next
    return None


def _split(target: str) -> Tuple[str, Any]:
    # A path may hold colons before its file's name, the object none before its arguments.
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
        # Only if this is what is missing, not something that it imports.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise TargetError(
                f"there is no module {error.name!r}; was the command started in the project's folder ({os.getcwd()})?"
            ) from None
        raise


def _import_file(path: str) -> ModuleType:
    full = os.path.abspath(path)
    if not os.path.isfile(full):
        raise TargetError(f"there is no file {path!r}; mend the path, or name a module")
    if not full.endswith(".py"):
        raise TargetError(f"{path!r} is no Python file; name one that ends with .py")
    folder, name = os.path.split(full[: -len(".py")])
    if name == "__init__":
        folder, name = os.path.split(folder)
    # A part of a package is imported as that, so that it can say "from . import neighbour".
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = f"{package}.{name}"
    # As when Python runs it: its folder comes first.
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


def _default(module: ModuleType, target: str) -> Any:
    for name in NAMES:
        if hasattr(module, name):
            return getattr(module, name)
    raise TargetError(
        f"{module.__name__!r} has neither 'app' nor 'application'; name the object: {target}:object{_others(module)}"
    )


def _others(module: ModuleType) -> str:
    names: List[str] = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return f" (there is {', '.join(names[:5])})" if names else ""


def _evaluate(module: ModuleType, expression: str, target: str) -> Any:
    wrong = f"{expression!r} is no name of an object; write object, object.attribute or factory('argument', n=1)"
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
        more = _others(module) if holder is module else ""
        what = f"module {module.__name__!r}" if holder is module else _article(holder)
        raise TargetError(f"{what} has no {name!r}{more}") from None


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"an object of type {name!r}"
