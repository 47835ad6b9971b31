"""Small changes of a module, one at a time: what a slip of the hand would make of it."""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
SWAPPED_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """One change of a module, still to be made."""

    key: str
    """Where and what, without a line number: `function | the statement's first line | before -> after`."""
    line: int
    place: int
    change: int


def mutants(source: str) -> list[Mutant]:
    """Return every mutant of a module."""
    found: list[Mutant] = []
    seen: dict[str, int] = {}
    for place, (node, scope, statement) in enumerate(_places(ast.parse(source))):
        for change, make in enumerate(_changes(node)):
            scratch = ast.Module([copy.deepcopy(node)], [])  # type: ignore[list-item] # also for an expression
            description = make(scratch.body[0], scratch)
            if description is None:
                continue
            head = ast.unparse(statement).splitlines()[0]
            key = f"{scope} | {head} | {description}"
            seen[key] = seen.get(key, 0) + 1
            if seen[key] > 1:
                key += f" | {seen[key]}"
            found.append(Mutant(key, node.lineno, place, change))  # type: ignore[attr-defined]
    return found


def changed(source: str, mutant: Mutant) -> ast.Module:
    """Return the module with that one change made."""
    tree = ast.parse(source)
    for place, (node, _, _) in enumerate(_places(tree)):
        if place == mutant.place:
            _changes(node)[mutant.change](node, tree)
            return ast.fix_missing_locations(tree)
    raise LookupError(f"there is no place {mutant.place} in this source")


Change = Callable[[ast.AST, ast.Module], str | None]


def _places(tree: ast.Module) -> Iterator[tuple[ast.AST, str, ast.stmt]]:
    """Yield what can be changed, with the function it is in and the statement it belongs to."""

    def walk(
        node: ast.AST, scope: str, statement: ast.stmt | None
    ) -> Iterator[tuple[ast.AST, str, ast.stmt]]:
        for field, child in _children(node):
            if _is_words(node, field, child):
                continue
            inner_scope = scope
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner_scope = f"{scope}.{child.name}" if scope else child.name
            inner = child if isinstance(child, ast.stmt) else statement
            if inner is not None and hasattr(child, "lineno"):
                yield child, inner_scope, inner
            yield from walk(child, inner_scope, inner)

    yield from walk(tree, "", None)


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield field, child


def _is_words(node: ast.AST, field: str, child: ast.AST) -> bool:
    """Whether this is for readers alone: annotations, imports, documentation, sentences."""
    if field in {"annotation", "returns", "decorator_list", "type_params"}:
        return True
    if isinstance(child, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert | ast.AnnAssign):
        return not (isinstance(child, ast.AnnAssign) and child.value is not None)
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
        return True
    return isinstance(node, ast.Raise)


def _changes(node: ast.AST) -> list[Change]:
    match node:
        case ast.Compare():
            return [
                _comparison(index, other)
                for index, operator in enumerate(node.ops)
                for other in COMPARISONS[type(operator)]
            ]
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            return [_arithmetic]
        case ast.AugAssign() if type(node.op) in ARITHMETIC:
            return [_arithmetic, _left_out]
        case ast.BoolOp():
            return [_other_word, *(_without(index) for index in range(len(node.values)))]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return [_unsigned]
        case ast.Constant(value=bool()):
            return [_negated_constant]
        case ast.Constant(value=int() | float()):
            return [_more]
        case ast.Call(func=ast.Name(id=name)) if name in SWAPPED_CALLS:
            return [_swapped_call]
        case ast.If() | ast.IfExp() | ast.While():
            return [_condition(True), _condition(False)]
        case ast.Return() if node.value is not None and not _is_none(node.value):
            return [_returns_none]
        case ast.Assign(targets=[ast.Attribute()]) | ast.Expr(value=ast.Call()) | ast.Delete():
            return [_left_out]
        case _:
            return []


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _comparison(index: int, other: type[ast.cmpop]) -> Change:
    def change(node: ast.AST, _: ast.Module) -> str:
        assert isinstance(node, ast.Compare)
        before = ast.unparse(node)
        node.ops[index] = other()
        return f"{before} -> {ast.unparse(node)}"

    return change


def _arithmetic(node: ast.AST, _: ast.Module) -> str:
    assert isinstance(node, ast.BinOp | ast.AugAssign)
    before = ast.unparse(node)
    node.op = ARITHMETIC[type(node.op)]()
    return f"{before} -> {ast.unparse(node)}"


def _other_word(node: ast.AST, _: ast.Module) -> str:
    assert isinstance(node, ast.BoolOp)
    before = ast.unparse(node)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return f"{before} -> {ast.unparse(node)}"


def _without(index: int) -> Change:
    def change(node: ast.AST, tree: ast.Module) -> str:
        assert isinstance(node, ast.BoolOp)
        before = ast.unparse(node)
        left = [value for place, value in enumerate(node.values) if place != index]
        if len(left) == 1:  # no word joins one value: what would do so cannot even be loaded
            _replace(tree, node, left[0])
        else:
            node.values = left
        return f"{before} -> {' , '.join(ast.unparse(value) for value in left)}"

    return change


def _unsigned(node: ast.AST, tree: ast.Module) -> str:
    assert isinstance(node, ast.UnaryOp)
    return f"{ast.unparse(node)} -> {_replace(tree, node, node.operand)}"


def _negated_constant(node: ast.AST, _: ast.Module) -> str:
    assert isinstance(node, ast.Constant)
    node.value = not node.value
    return f"{not node.value} -> {node.value}"


def _more(node: ast.AST, _: ast.Module) -> str:
    assert isinstance(node, ast.Constant)
    before = node.value
    assert isinstance(before, int | float)
    node.value = before + 1 if isinstance(before, int) else before * 1.25 + (before == 0.0)
    return f"{before} -> {node.value}"


def _swapped_call(node: ast.AST, _: ast.Module) -> str:
    assert isinstance(node, ast.Call)
    before = ast.unparse(node)
    assert isinstance(node.func, ast.Name)
    node.func.id = SWAPPED_CALLS[node.func.id]
    return f"{before} -> {ast.unparse(node)}"


def _condition(value: bool) -> Change:
    def change(node: ast.AST, _: ast.Module) -> str | None:
        assert isinstance(node, ast.If | ast.IfExp | ast.While)
        if isinstance(node, ast.While) and value:
            return None  # it would never end
        before = ast.unparse(node.test)
        node.test = ast.Constant(value)
        return f"if {before} -> if {value}"

    return change


def _returns_none(node: ast.AST, _: ast.Module) -> str:
    assert isinstance(node, ast.Return)
    node.value = ast.Constant(None)
    return "-> return None"


def _left_out(node: ast.AST, tree: ast.Module) -> str:
    before = ast.unparse(node).splitlines()[0]
    _replace(tree, node, ast.Pass())
    return f"{before} -> pass"


def _replace(tree: ast.Module, node: ast.AST, other: ast.AST) -> str:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, field, other)
            elif isinstance(value, list) and node in value:
                value[value.index(node)] = other
    return ast.unparse(other)
