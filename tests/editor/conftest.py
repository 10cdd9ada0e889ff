"""A copy of the shipped policy to edit, and a real client that speaks with `stockade lsp` over its pipes."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from tests.source.policies import SHIPPED

LIMIT = 30  # seconds for a whole session


class Session:
    """One client and one server; `diagnostics` holds what was published last for each file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = LanguageClient("test", "1")
        self.diagnostics: dict[str, list[lsp.Diagnostic]] = {}
        self.published = asyncio.Event()
        self.versions: dict[str, int] = {}

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def _published(params: lsp.PublishDiagnosticsParams) -> None:
            self.diagnostics[params.uri] = list(params.diagnostics)
            self.published.set()

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def text(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")

    async def start(self) -> None:
        await self.client.start_io(sys.executable, "-m", "stockade.cli.main", "lsp")
        capabilities = lsp.ClientCapabilities()
        root = self.folder.as_uri()
        await self.client.initialize_async(lsp.InitializeParams(capabilities=capabilities, root_uri=root))
        self.client.initialized(lsp.InitializedParams())

    async def stop(self) -> None:
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await self.client.stop()

    def open(self, name: str, text: str | None = None) -> None:
        document = lsp.TextDocumentItem(self.uri(name), "yaml", 1, self.text(name) if text is None else text)
        self.versions[name] = 1
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(document))

    def change(self, name: str, text: str) -> None:
        self.versions[name] += 1
        document = lsp.VersionedTextDocumentIdentifier(self.versions[name], self.uri(name))
        change = lsp.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(document, [change]))

    def close(self, name: str) -> None:
        document = lsp.TextDocumentIdentifier(self.uri(name))
        self.client.text_document_did_close(lsp.DidCloseTextDocumentParams(document))

    async def until(self, name: str, wanted: Callable[[list[lsp.Diagnostic]], bool]) -> list[lsp.Diagnostic]:
        """The diagnostics of a file, as soon as they are as wanted; the whole session has a limit."""
        while self.uri(name) not in self.diagnostics or not wanted(self.diagnostics[self.uri(name)]):
            self.published.clear()
            await self.published.wait()
        return self.diagnostics[self.uri(name)]

    def at(self, name: str, line: int, column: int) -> dict[str, Any]:
        """The parameters of a question about a place, counted from 0 in UTF-16 units."""
        return {"text_document": lsp.TextDocumentIdentifier(self.uri(name)), "position": lsp.Position(line, column)}

    async def completions(self, name: str, line: int, column: int) -> dict[str, lsp.CompletionItem]:
        found = await self.client.text_document_completion_async(lsp.CompletionParams(**self.at(name, line, column)))
        return {item.label: item for item in found.items} if isinstance(found, lsp.CompletionList) else {}

    async def hover(self, name: str, line: int, column: int) -> str:
        found = await self.client.text_document_hover_async(lsp.HoverParams(**self.at(name, line, column)))
        return found.contents.value if found and isinstance(found.contents, lsp.MarkupContent) else ""

    async def definition(self, name: str, line: int, column: int) -> lsp.Location | None:
        found = await self.client.text_document_definition_async(lsp.DefinitionParams(**self.at(name, line, column)))
        return found if isinstance(found, lsp.Location) else None


Run = Callable[[Callable[[Session], Awaitable[None]]], None]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Run]:
    """Runs a coroutine as one session on a copy of the shipped policy."""
    folder = tmp_path / "policy"
    shutil.copytree(SHIPPED, folder)

    def run(talk: Callable[[Session], Awaitable[None]]) -> None:
        async def whole() -> None:
            session = Session(folder)
            await session.start()
            try:
                await talk(session)
            finally:
                await session.stop()

        asyncio.run(asyncio.wait_for(whole(), LIMIT))

    yield run
