"""Finds what can be changed in a C file, in clang's dump of its syntax tree.

A mutant replaces the bytes [begin, end) of the file by another text that compiles; both are wrapped so that a number,
looked at while the program runs, chooses between them (schemata.py). What comes out of a macro is left alone, and so is
everything outside of functions, in static initialisers and in constants that the compiler needs (cases, sizes).
Some changes change nothing by their form, whatever the program is: they are found, and marked.
"""
import json
import os
import re
import subprocess
from dataclasses import dataclass

RELATIONS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
}
ARITHMETIC = {
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
    "%": ("/",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "^": ("&",),
}
LOGIC = {"&&": ("||",), "||": ("&&",)}
ASSIGNMENTS = {
    "+=": "-=",
    "-=": "+=",
    "*=": "/=",
    "/=": "*=",
    "|=": "&=",
    "&=": "|=",
    "^=": "|=",
    "<<=": ">>=",
    ">>=": "<<=",
}

INTEGER = re.compile(
    r"^(const )?(unsigned |signed )?(char|short|int|long|long long|_Bool|bool|s?size_t|off_t|u?int(8|16|32|64)_t|unsigned|enum \w+"
    r"|le(16|32|64)|long unsigned int)( int)?$"
)
EMPTY = re.compile(r"\s*(/\*.*?\*/\s*)*", re.S)
COMPARES = "int (const void *, const void *)"  # of what it gives, only the sign counts
GROWTH = re.compile(r"\bcap = .*\? 2 \* .* : [0-9]+[,;]")
# What is only added or multiplied up to here, within the size: of more memory nobody has less.
ALLOCATION = re.compile(r"\b(malloc|calloc|realloc)\((?:[^-/%<>?&|^~!()]|->|\((?:[^()]|->)*\))*$")
# What is done to one place is nothing to another, unless that is read for it.
EACH_BY_ITSELF = re.compile(
    r"((pfs_\w+_)?free|mem(cpy|set)|(pfs_)?put_(le|be)(16|32|64)|close|pthread_(mutex|cond)_(init|destroy)|pfs_monotonic_cond_init)\("
)
CHECKSUM = re.compile(r"crc\w*\(")  # but this, which is of several
HALVING = re.compile(r"\+ \(\w+ - \w+\) / $")  # a search that goes on at a third finds the same
# ... or to ThreadSanitizer.
HINT = re.compile(r"(__builtin_prefetch|pfs_(index|probe)_prefetch\w*|prefetch|pfs_guess_(begin|end))\(")
HINTS = re.compile(r"prefetch|pfs_(index|probe)_prefetch\w*")
NEVER = re.compile(r"PFS_NEVER\(")


@dataclass
class Mutant:
    begin: int
    end: int
    text: str  # what stands there instead
    what: str  # for people, and part of its identity
    function: str
    line: int
    form: str  # "expression", "condition", "call" whose value nobody uses, or "statements"
    is_idle: bool  # changes nothing


class Finder:
    def __init__(self, path, flags):
        with open(path, "rb") as file:
            self.source = file.read()
        language = ["-x", "c"] if path.endswith(".h") else []
        dump = subprocess.run(
            ["clang", "-fsyntax-only", "-w", "-Xclang", "-ast-dump=json", *flags, *language, path],
            env={**os.environ, "CCACHE_DISABLE": "1"},  # its clang reads the preprocessed file, with other offsets
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        self.tree = json.loads(dump)
        self.found = []
        self.function = None
        self.bounds = set()  # places of comparisons that only choose between equal values when they are equal

    # ---- places ----

    def text(self, span):
        return self.source[span[0] : span[1]].decode()

    def place(self, location, is_end):
        """The offset of a location in this file; None: it is elsewhere, or in the middle of a macro."""
        if "expansionLoc" in location:
            if location.get("isMacroArgExpansion") or location["expansionLoc"].get("isMacroArgExpansion"):
                return None
            location = location["expansionLoc"]
            if "offset" not in location or "includedFrom" in location:
                return None
            if not is_end:
                return location["offset"]
            at = location["offset"] + location["tokLen"]
            if self.source[at : at + 1] != b"(":
                return at
            depth = 0
            for at in range(at, len(self.source)):
                depth += {b"(": 1, b")": -1}.get(self.source[at : at + 1], 0)
                if depth == 0:
                    return at + 1
            return None
        if "offset" not in location or "includedFrom" in location:
            return None
        return location["offset"] + (location["tokLen"] if is_end else 0)

    def span(self, node):
        area = node.get("range", {})
        begin, end = self.place(area.get("begin", {}), False), self.place(area.get("end", {}), True)
        return (begin, end) if begin is not None and end is not None and begin < end else None

    def is_plain(self, node):
        """Not from a macro, at either end."""
        area = node.get("range", {})
        return all("offset" in area.get(key, {}) and "includedFrom" not in area[key] for key in ("begin", "end"))

    def operator_between(self, left, right):
        between = self.source[left[1] : right[0]].decode() if left[1] <= right[0] else "?"
        return re.sub(r"/\*.*?\*/", "", between, flags=re.S).strip()

    # ---- what is found ----

    def add(self, span, text, what, form="expression", is_idle=False):
        line = self.source.count(b"\n", 0, span[0]) + 1
        is_idle = bool(is_idle or self.is_in_never or HINTS.fullmatch(self.function))
        self.found.append(Mutant(*span, text, what, self.function, line, form, is_idle))

    @staticmethod
    def type_of(node):
        kind = node.get("type", {})
        return kind.get("desugaredQualType", kind.get("qualType", ""))

    def is_integer(self, node):
        return bool(INTEGER.match(self.type_of(node)) or INTEGER.match(node.get("type", {}).get("qualType", "")))

    def is_pointer(self, node):
        return self.type_of(node).rstrip().endswith("*")

    def binary(self, node):
        left, right = node["inner"]
        spans = self.span(left), self.span(right)
        op = node["opcode"]
        if None in spans or self.operator_between(*spans) != op:
            return
        whole = (spans[0][0], spans[1][1])
        others = {**RELATIONS, **ARITHMETIC, **LOGIC}.get(op, ())
        pointers = self.is_pointer(left) + self.is_pointer(right)
        if op in ARITHMETIC and (pointers > 1 or "double" in self.type_of(node) and op in "%&|^<<>>"):
            return
        if pointers and op in ("<", "<=", ">", ">=") + tuple(LOGIC) and op in RELATIONS and pointers < 2:
            return
        for other in others:
            self.add(
                whole,
                f"({self.text(spans[0])}) {other} ({self.text(spans[1])})",
                f"{self.shown(whole)}: {op} becomes {other}",
                is_idle=whole in self.bounds and other in (op + "=", op[:1]),
            )

    def of_two(self, node):
        """The place of the condition in a < b ? a : b, or the like: of equal ones it does not matter which."""
        condition, *values = node["inner"]
        while condition.get("kind") in ("ImplicitCastExpr", "ParenExpr"):
            condition = condition["inner"][0]
        if condition.get("kind") != "BinaryOperator" or condition["opcode"] not in ("<", "<=", ">", ">="):
            return []
        spans = [self.span(part) for part in condition["inner"] + values]
        if None in spans or {self.text(span) for span in spans[:2]} != {self.text(span) for span in spans[2:]}:
            return []
        return [(spans[0][0], spans[1][1])]

    def assignment(self, node):
        left, right = node["inner"]
        spans = self.span(left), self.span(right)
        op = node["opcode"]
        if None in spans or op not in ASSIGNMENTS or self.operator_between(*spans) != op:
            return
        if "double" in self.type_of(node) and ASSIGNMENTS[op] not in ("+=", "-=", "*=", "/="):
            return
        whole = (spans[0][0], spans[1][1])
        self.add(
            whole,
            f"{self.text(spans[0])} {ASSIGNMENTS[op]} ({self.text(spans[1])})",
            f"{self.shown(whole)}: {op} becomes {ASSIGNMENTS[op]}",
        )

    def unary(self, node):
        span = self.span(node)
        inner = self.span(node["inner"][0])
        if not span or not inner or not self.is_plain(node):
            return
        op, text = node["opcode"], self.text(inner)
        if op == "!":
            self.add(span, f"!!({text})", f"{self.shown(span)}: without !")
        elif op == "-" and node["inner"][0]["kind"] != "IntegerLiteral":
            self.add(span, f"+({text})", f"{self.shown(span)}: without -")
        elif op == "~":
            self.add(span, f"+({text})", f"{self.shown(span)}: without ~")
        elif op in ("++", "--") and not self.is_in_loop_head:
            other = {"++": "--", "--": "++"}[op]
            self.add(
                span, f"{text}{other}" if node.get("isPostfix") else f"{other}{text}", f"{self.shown(span)}: {other}"
            )

    def literal(self, node):
        span = self.span(node)
        if not span or not self.is_plain(node):
            return
        text = self.text(span)
        if not re.match(r"^(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*$", text):
            return
        around = self.line_of(span[0])
        grows = bool(GROWTH.search(around))
        allocates = bool(ALLOCATION.search(self.source[: span[0]].decode().rsplit("\n", 1)[-1]))
        returns_sign = self.type_of_function == COMPARES and around.lstrip().startswith("return")
        self.add(
            span,
            f"({text} + 1)",
            f"{self.shown(span)} becomes {text} + 1",
            is_idle=grows
            or allocates
            or returns_sign
            and text == "1"
            or text == "2"
            and bool(HALVING.search(self.source[: span[0]].decode())),
        )
        if node.get("value") != "0":
            self.add(
                span,
                f"({text} - 1)",
                f"{self.shown(span)} becomes {text} - 1",
                is_idle=grows and int(node["value"]) > 2,
            )

    def line_of(self, at):
        return self.source[self.source.rfind(b"\n", 0, at) + 1 : self.source.find(b"\n", at)].decode()

    def condition(self, node):
        """What is decided by it, the other way round; where another mutant does the same it is left to that one."""
        span = self.span(node)
        inner = node
        while inner.get("kind") in ("ImplicitCastExpr", "ParenExpr"):
            inner = inner["inner"][0]
        kind, op = inner.get("kind"), inner.get("opcode")
        if kind == "UnaryOperator" and op == "!" or kind == "BinaryOperator" and op in RELATIONS:
            return
        if kind == "CallExpr" and inner.get("type", {}).get("qualType") in ("bool", "_Bool"):
            return
        if span:
            self.add(span, f"!({self.text(span)})", f"{self.shown(span)}: negated", "condition")

    def call(self, node, is_statement):
        span = self.span(node)
        if not span or not self.is_plain(node):
            return
        if is_statement:
            self.add(span, "", f"{self.shown(span)}: not called", "call")
        elif self.is_integer(node):
            self.add(span, "0", f"{self.shown(span)}: not called, 0")
            if node.get("type", {}).get("qualType") in ("bool", "_Bool"):
                self.add(span, "1", f"{self.shown(span)}: not called, true")

    def returned(self, node):
        if not node.get("inner"):
            return
        value = node["inner"][0]
        span = self.span(value)
        if not span or not self.is_integer(value):
            return
        text = self.text(span)
        other = {"true": "false", "false": "true", "0": "(-5)"}.get(text, "0")
        inner = value
        while inner.get("kind") in ("ImplicitCastExpr", "ParenExpr"):
            inner = inner["inner"][0]
        if inner.get("kind") != "CallExpr":
            is_zero = other == "0" and self.enumerators.get(inner.get("referencedDecl", {}).get("id")) == 0
            self.add(span, other, f"return {self.shown(span)}: returns {other}", is_idle=is_zero)

    def shown(self, span):
        text = " ".join(self.text(span).split())
        return text if len(text) <= 60 else text[:57] + "..."

    def swapped(self, statements):
        """Neighbours that are calls, each in its own statement."""
        for first, second in zip(statements, statements[1:]):
            spans = self.span(first), self.span(second)
            if first["kind"] != "CallExpr" or second["kind"] != "CallExpr" or None in spans:
                continue
            end = self.source.find(b";", spans[1][1])
            if self.source[spans[0][1] : spans[1][0]].decode().strip() != ";":
                continue
            whole = (spans[0][0], end + 1)
            texts = self.text(spans[0]), self.text(spans[1])
            places = [text.split("(", 1)[1].split(",")[0].rstrip(")") for text in texts]
            apart = places[0] not in texts[1] and places[1] not in texts[0]
            self.add(
                whole,
                f"{texts[1]}; {texts[0]};",
                f"{self.shown(spans[0])}; {self.shown(spans[1])}: in the other order",
                "statements",
                is_idle=apart
                and all(EACH_BY_ITSELF.match(text) and not CHECKSUM.search(text) for text in texts)
                or texts[1].startswith(("va_end(", "va_copy(")),
            )

    # ---- walking ----

    def is_hint(self, node):
        """A hint to the processor, which changes no result (and often wants constants)."""
        span = node.get("kind") == "CallExpr" and self.span(node)
        return bool(span) and bool(HINT.match(self.text(span)))

    def is_never(self, node):
        """A condition that is PFS_NEVER(...): what depends on it is never done."""
        while node.get("kind") in ("ImplicitCastExpr", "ParenExpr"):
            node = node["inner"][0]
        span = self.span(node)
        return bool(span) and bool(NEVER.match(self.text(span)))

    def walk_statement(self, node):
        """A child of a block, or a body: a call here gives a value to nobody."""
        kind = node.get("kind")
        inner = node
        if kind == "CStyleCastExpr" and self.type_of(node) == "void":
            inner = node["inner"][0]
            while inner.get("kind") in ("ImplicitCastExpr", "ParenExpr"):
                inner = inner["inner"][0]
        if inner.get("kind") == "CallExpr" and not self.is_hint(inner):
            self.call(inner, True)
            for child in inner.get("inner", []):
                self.walk(child)
        else:
            self.walk(node)

    def walk_children(self, node):
        for child in node.get("inner", []):
            if child:
                self.walk(child)

    def walk(self, node):
        kind = node.get("kind")
        if kind == "CompoundStmt":
            children = node.get("inner", [])
            self.swapped(children)
            for child in children:
                self.walk_statement(child)
        elif kind in ("IfStmt", "WhileStmt", "SwitchStmt"):
            children = node["inner"]
            if kind != "SwitchStmt":
                self.condition(children[0])
            self.walk(children[0])
            for i, child in enumerate(children[1:]):
                is_never = i == 0 and kind == "IfStmt" and self.is_never(children[0])
                self.is_in_never += is_never
                self.walk_statement(child)
                self.is_in_never -= is_never
        elif kind == "DoStmt":
            self.walk_statement(node["inner"][0])
            self.condition(node["inner"][1])
            self.walk(node["inner"][1])
        elif kind == "ForStmt":
            init, _, condition, step, body = node["inner"]
            if init:
                self.walk(init)
            if condition:
                self.condition(condition)
                self.walk(condition)
            self.is_in_loop_head += 1
            if step:
                self.walk(step)
            self.is_in_loop_head -= 1
            self.walk_statement(body)
        elif kind == "CaseStmt":
            self.walk_statement(node["inner"][-1])  # what stands before it are constants
        elif kind in ("DefaultStmt", "LabelStmt"):
            self.walk_statement(node["inner"][-1])
        elif kind in ("UnaryExprOrTypeTraitExpr", "ConstantExpr", "StaticAssertDecl", "RecordDecl", "EnumDecl"):
            pass  # constants, which the compiler needs
        elif kind == "VarDecl" and node.get("storageClass") == "static" or self.is_hint(node):
            pass
        else:
            self.own(node, kind)
            self.walk_children(node)

    def own(self, node, kind):
        if kind == "BinaryOperator" and node["opcode"] not in ("=", ","):
            self.binary(node)
        elif kind == "CompoundAssignOperator":
            self.assignment(node)
        elif kind == "UnaryOperator":
            self.unary(node)
        elif kind == "IntegerLiteral":
            self.literal(node)
        elif kind == "ConditionalOperator":
            self.condition(node["inner"][0])
            self.bounds.update(self.of_two(node))
        elif kind == "CallExpr":
            self.call(node, False)
        elif kind == "ReturnStmt":
            self.returned(node)

    def values_of_enumerators(self):
        """{id: value}"""
        values = {}
        for enum in self.tree["inner"]:
            value = -1
            for node in enum.get("inner", []) if enum.get("kind") == "EnumDecl" else []:
                if node.get("kind") == "EnumConstantDecl":
                    given = [int(child["value"]) for child in node.get("inner", []) if "value" in child]
                    value = given[0] if given else value + 1
                    values[node["id"]] = value
        return values

    def find(self):
        self.enumerators = self.values_of_enumerators()
        self.is_in_loop_head = 0
        self.is_in_never = 0
        for node in self.tree["inner"]:
            area = node.get("range", {}).get("begin", {})
            if node.get("kind") != "FunctionDecl" or "includedFrom" in area or "offset" not in area:
                continue
            for child in node.get("inner", []):
                if child.get("kind") == "CompoundStmt":
                    self.function = node["name"]
                    self.type_of_function = node["type"]["qualType"]
                    self.walk(child)
        return self.found


def find(path, flags):
    return Finder(path, flags).find()
