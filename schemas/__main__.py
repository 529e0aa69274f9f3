"""Print the class table as Markdown: ``python -m schemas > docs/classes.md``."""

from schemas.classes import ClassTable


def markdown(table: ClassTable) -> str:
    """Return every class, and the nodes and edges of the skeletons in V7's order."""
    lines = [
        "# Classes",
        "",
        "What the service emits under its default class names. Left and right are the person's own.",
    ]
    for annotation_class in (table.face, table.landmarks):
        lines += ["", f"## {annotation_class.name}: {annotation_class.type.replace('_', ' ')}"]
        if annotation_class.layout is not None:
            lines += ["", "| node | connected to |", "|---|---|"]
            for node in annotation_class.layout.nodes:
                ends = [end for start, end in annotation_class.layout.edges if start == node]
                lines.append(f"| `{node}` | {', '.join(f'`{end}`' for end in ends)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(ClassTable.named(face="Face", landmarks="Face landmarks")))  # noqa: T201 (it is what it is for)
