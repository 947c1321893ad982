"""A second opinion: what sqlglot makes of a statement that this room's rules do not know."""

from __future__ import annotations

from orchestrator.changes.change_set import Effect
from orchestrator.changes.grammar import parse
from orchestrator.changes.names import Part
from orchestrator.changes.reading import Reading


def second_opinion(reading: Reading) -> bool:
    """Whether sqlglot knows what the present statement does; what it touches is written down, as destructive."""
    tree = parse(reading.text, reading.dialect.name)
    if tree is None:
        return False
    from sqlglot import exp

    if isinstance(tree, exp.Create | exp.Drop | exp.Alter):
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        kind = str(tree.args.get("kind") or "").upper()
        if (
            not isinstance(target, exp.Table)
            or not isinstance(target.this, exp.Identifier)
            or kind not in {"TABLE", "VIEW"}
        ):
            return False
        written = [target.args.get("catalog"), target.args.get("db"), target.this]
        parts = tuple(Part(each.name, quoted=bool(each.args.get("quoted"))) for each in written if each is not None)
        reading.touch_table(parts, Effect.DESTRUCTIVE, f"a {tree.key.upper()} of a form that only the parser knows")
        return True
    return isinstance(tree, exp.Query | exp.DML | exp.Set | exp.Describe | exp.Show | exp.Pragma | exp.TruncateTable)
