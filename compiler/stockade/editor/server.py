"""The language server: the protocol's requests and notifications, answered by the other modules of this room."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path
from pygls.workspace import TextDocument

from stockade import __version__
from stockade.editor import answers
from stockade.editor.folder import Checked, check, policy_folder
from stockade.editor.names import Index, Kind, index
from stockade.model.finding import Finding
from stockade.source.load import SourceFile

SOURCE = "stockade"
_PAUSE = 0.15  # seconds without a keystroke before a policy is checked
_KINDS = {
    "key": lsp.CompletionItemKind.Property,
    Kind.TYPE: lsp.CompletionItemKind.Class,
    Kind.VERB: lsp.CompletionItemKind.Method,
    Kind.CALL: lsp.CompletionItemKind.Function,
    Kind.CALL_GROUP: lsp.CompletionItemKind.Module,
    Kind.CLASS_GROUP: lsp.CompletionItemKind.Module,
    Kind.CONSTANT: lsp.CompletionItemKind.Constant,
}


@dataclass
class Known:
    """What the server holds of one policy folder: the last check, the names, and the files that it spoke of."""

    checked: Checked = field(default_factory=lambda: Checked((), None, ()))
    index: Index = field(default_factory=Index)
    reported: set[str] = field(default_factory=set)
    turn: int = 0


class Server(LanguageServer):
    """A language server with what it knows of each policy folder that has an open file."""

    def __init__(self) -> None:
        super().__init__("stockade", __version__)
        self.known: dict[Path, Known] = {}

    def place(self, uri: str) -> tuple[Path, str, Known] | None:
        """A document's policy folder, its name in it, and what is known of it; None where it is in no policy."""
        found = to_fs_path(uri)
        path = Path(found).resolve() if found else None
        folder = policy_folder(path) if path else None
        if path is None or folder is None:
            return None
        if folder not in self.known:
            self.known[folder] = Known()
            self.check(folder)
        return folder, path.relative_to(folder).as_posix(), self.known[folder]

    def buffers(self) -> dict[Path, str]:
        """The open files of this machine, by path."""
        paths = {to_fs_path(uri): document for uri, document in self.workspace.text_documents.items()}
        return {Path(path).resolve(): document.source for path, document in paths.items() if path}

    def check(self, folder: Path) -> None:
        """Check a policy and show what is wrong, in every file of it; what was mended is taken back."""
        known = self.known[folder]
        buffers = self.buffers()
        known.checked = check(folder, buffers)
        known.index = index(known.checked.files)
        found = answers.by_file(known.checked.findings)
        texts = {file.name: file for file in known.checked.files}
        for name in sorted(known.reported | found.keys()):
            self._publish(folder, name, found.get(name, []), texts)
        known.reported = set(found)

    async def check_soon(self, folder: Path) -> None:
        """Check when no other change has come for a moment."""
        known = self.known[folder]
        known.turn += 1
        turn = known.turn
        await asyncio.sleep(_PAUSE)
        if turn == known.turn:
            self.check(folder)

    def _publish(self, folder: Path, name: str, findings: list[Finding], texts: Mapping[str, SourceFile]) -> None:
        # What is wrong with the policy as a whole has no file of its own: it is shown at the folder's first file.
        shown = name if name in texts else next(iter(texts), name)
        uri = from_fs_path(str(folder / shown)) or ""
        text = texts[shown].data.decode("utf-8", "replace") if shown in texts else ""
        document = self.workspace.get_text_document(uri) if uri in self.workspace.text_documents else None
        said = [
            lsp.Diagnostic(
                range=self.range(document or TextDocument(uri, text), answers.span(found.at, text)),
                message=f"{found.message}\n{found.hint}" if found.hint else found.message,
                severity=lsp.DiagnosticSeverity.Error,
                source=SOURCE,
            )
            for found in findings
        ]
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri=uri, diagnostics=said))

    def range(self, document: TextDocument, span: answers.Span) -> lsp.Range:
        """A span as the client counts columns."""
        ends = lsp.Range(lsp.Position(span.line, span.start), lsp.Position(span.line, span.end))
        return self.workspace.position_codec.range_to_client_units(document.lines, ends)


def make() -> Server:
    """A server with all that it answers, not started yet."""
    server = Server()

    def asked(uri: str, at: lsp.Position) -> tuple[Path, str, Known, TextDocument, int, int] | None:
        found = server.place(uri)
        if found is None:
            return None
        document = server.workspace.get_text_document(uri)
        place = server.workspace.position_codec.position_from_client_units(document.lines, at)
        return (*found, document, place.line, place.character)

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def _opened(params: lsp.DidOpenTextDocumentParams) -> None:
        if (found := server.place(params.text_document.uri)) is not None:
            found[2].reported.add(found[1])  # so that an editor hears of a file without a fault too
            server.check(found[0])

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def _changed(params: lsp.DidChangeTextDocumentParams) -> None:
        if (found := server.place(params.text_document.uri)) is not None:
            await server.check_soon(found[0])

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def _saved(params: lsp.DidSaveTextDocumentParams) -> None:
        if (found := server.place(params.text_document.uri)) is not None:
            server.check(found[0])

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def _closed(params: lsp.DidCloseTextDocumentParams) -> None:
        # What is on disk counts again.
        if (found := server.place(params.text_document.uri)) is not None:
            server.check(found[0])

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["@", ":", "[", "{", " "]))
    def _complete(params: lsp.CompletionParams) -> lsp.CompletionList | None:
        if (found := asked(params.text_document.uri, params.position)) is None:
            return None
        _, file, known, document, line, column = found
        begun, listed = answers.proposals(known.index, file, document.source, line, column)
        if begun is None:
            return None
        where = server.range(document, answers.Span(line, begun.start, begun.end))
        row = document.source.split("\n")[line]
        return lsp.CompletionList(False, [_item(proposal, where, row) for proposal in listed])

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def _hover(params: lsp.HoverParams) -> lsp.Hover | None:
        if (found := asked(params.text_document.uri, params.position)) is None:
            return None
        _, file, known, document, line, column = found
        text = answers.hover(known.index, known.checked.policy, file, document.source, line, column)
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text)) if text else None

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def _definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        if (found := asked(params.text_document.uri, params.position)) is None:
            return None
        folder, _, known, document, line, column = found
        at = answers.declared_at(known.index, document.source, line, column)
        if at is None:
            return None
        text = next((file.data.decode() for file in known.checked.files if file.name == at.file), "")
        uri = from_fs_path(str(folder / at.file)) or ""
        return lsp.Location(uri, server.range(TextDocument(uri, text), answers.span(at, text)))

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def _symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        if (found := server.place(params.text_document.uri)) is None:
            return []
        _, file, known = found
        document = server.workspace.get_text_document(params.text_document.uri)
        listed = []
        for name in answers.declarations(known.index, file):
            if name.at is not None:
                where = server.range(document, answers.span(name.at, document.source))
                listed.append(lsp.DocumentSymbol(name.text, lsp.SymbolKind.Object, where, where, f"{name.kind}"))
        return listed

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def _formatted(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        if (found := server.place(params.text_document.uri)) is None:
            return []
        document = server.workspace.get_text_document(params.text_document.uri)
        text = answers.formatted(found[1], document.source)
        if text is None or text == document.source:
            return []
        end = lsp.Position(document.source.count("\n") + 1, 0)
        return [lsp.TextEdit(lsp.Range(lsp.Position(0, 0), end), text)]

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    def _repairs(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        if (found := server.place(params.text_document.uri)) is None:
            return []
        _, file, known = found
        document = server.workspace.get_text_document(params.text_document.uri)
        offered = []
        for finding in known.checked.findings:
            within = params.range.start.line <= finding.at.line - 1 <= params.range.end.line
            change = answers.repair(finding, document.source) if finding.at.file == file and within else None
            if change is not None:
                edit = lsp.TextEdit(server.range(document, change.span), change.text)
                offered.append(
                    lsp.CodeAction(
                        title=f"Write {change.text}",
                        kind=lsp.CodeActionKind.QuickFix,
                        edit=lsp.WorkspaceEdit(changes={params.text_document.uri: [edit]}),
                    )
                )
        return offered

    return server


def _item(proposal: answers.Proposal, where: lsp.Range, line: str) -> lsp.CompletionItem:
    # `@` begins no plain scalar of YAML, so a group stands in quotation marks.
    text = proposal.text
    if text.startswith("@") and not proposal.is_key and line[: where.start.character].count('"') % 2 == 0:
        text = f'"{text}"'
    about: Any = lsp.MarkupContent(lsp.MarkupKind.Markdown, proposal.about) if proposal.about else None
    return lsp.CompletionItem(
        label=proposal.text,
        kind=_KINDS.get(proposal.detail, lsp.CompletionItemKind.Value),
        detail=str(proposal.detail),
        documentation=about,
        filter_text=proposal.text,
        text_edit=lsp.TextEdit(where, f"{text}: " if proposal.is_key else text),
    )
