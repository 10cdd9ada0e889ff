"""What an editor sees: a real client and `stockade lsp`, over the protocol."""

from __future__ import annotations

from lsprotocol import types as lsp

from tests.editor.conftest import Run, Session

WEB = "containers/web.yaml"


def _line(text: str, part: str) -> tuple[int, int]:
    """Line and first column of a part of a text, from 0."""
    before, found, _ = text.partition(part)
    assert found, part
    return before.count("\n"), len(before.rpartition("\n")[2])


def test_faults_appear_while_typing_and_go_when_mended(session: Run) -> None:
    async def talk(s: Session) -> None:
        text = s.text(WEB)
        s.open(WEB)
        assert await s.until(WEB, lambda found: True) == []
        s.change(WEB, text + "cgruop: {pids.max: 10}\n")
        (fault,) = await s.until(WEB, bool)
        assert "unknown key `cgruop`" in fault.message and "did you mean `cgroup`?" in fault.message
        assert fault.severity is lsp.DiagnosticSeverity.Error
        last = text.count("\n")
        assert fault.range == lsp.Range(lsp.Position(last, 0), lsp.Position(last, 6))
        s.change(WEB, text)
        assert await s.until(WEB, lambda found: not found) == []

    session(talk)


def test_a_promise_broken_by_what_is_typed_is_shown_where_the_rule_is(session: Run) -> None:
    rules = "host/rules.yaml"

    async def talk(s: Session) -> None:
        s.open(rules)
        head, rest = s.text(rules).split("\nquiet:\n")
        entry = "  - {who: control, may: modify, what: private, why: because}"
        s.change(rules, f"{head.rstrip()}\n{entry}\n\nquiet:\n{rest}")
        found = await s.until(rules, bool)
        assert {fault.range.start.line for fault in found} == {head.rstrip().count("\n") + 1}
        assert any("promise" in fault.message for fault in found), found

    session(talk)


def test_a_fault_in_a_file_that_is_not_open_is_shown_there(session: Run) -> None:
    subjects = "host/subjects.yaml"

    async def talk(s: Session) -> None:
        s.open(subjects)
        s.change(subjects, s.text(subjects).replace("  control:", "  contrul:"))
        found = await s.until("host/rules.yaml", bool)
        assert any("unknown name `control`" in fault.message for fault in found)
        # Closed without saving, the file on disk counts again.
        s.close(subjects)
        assert await s.until("host/rules.yaml", lambda now: not now) == []

    session(talk)


def test_the_repair_that_is_offered_mends_the_fault(session: Run) -> None:
    async def talk(s: Session) -> None:
        text = s.text(WEB) + "cgruop: {pids.max: 10}\n"
        s.open(WEB, text)
        (fault,) = await s.until(WEB, bool)
        asked = lsp.CodeActionParams(
            lsp.TextDocumentIdentifier(s.uri(WEB)), fault.range, lsp.CodeActionContext(diagnostics=[fault])
        )
        (action,) = await s.client.text_document_code_action_async(asked) or ()
        assert isinstance(action, lsp.CodeAction) and action.edit and action.edit.changes
        (edit,) = action.edit.changes[s.uri(WEB)]
        assert isinstance(edit, lsp.TextEdit) and edit.new_text == "cgroup" and edit.range == fault.range

    session(talk)


def test_completion_knows_the_place(session: Run) -> None:
    async def talk(s: Session) -> None:
        text = "container: mine\nextends: ordinary\nwhy: A test.\nsyscalls:\n  allow:\n    - \ncapabilities: [CHO]\n"
        s.open("containers/mine.yaml", text)
        calls = await s.completions("containers/mine.yaml", 5, 6)
        assert {"@file-io", "mount", "openat2"} <= calls.keys()
        assert "CHOWN" not in calls and "runtime" not in calls
        edit = calls["@file-io"].text_edit
        assert isinstance(edit, lsp.TextEdit) and edit.new_text == '"@file-io"'
        capabilities = await s.completions("containers/mine.yaml", 6, len("capabilities: [CHO"))
        assert {"CHOWN", "SYS_ADMIN"} <= capabilities.keys() and "mount" not in capabilities
        extends = await s.completions("containers/mine.yaml", 1, len("extends: or"))
        assert {"ordinary", "web", "admin"} <= extends.keys() and "runtime" not in extends

    session(talk)


def test_keys_are_completed_and_those_said_already_are_not(session: Run) -> None:
    async def talk(s: Session) -> None:
        text = "container: mine\nwhy: A test.\nc"
        s.open("containers/mine.yaml", text)
        keys = await s.completions("containers/mine.yaml", 2, 1)
        assert {"capabilities", "cgroup", "syscalls"} <= keys.keys()
        assert not {"container", "why", "promise"} & keys.keys()
        edit = keys["cgroup"].text_edit
        assert isinstance(edit, lsp.TextEdit) and edit.new_text == "cgroup: "
        s.change("containers/mine.yaml", text[:-1] + "cgroup:\n  mem")
        files = await s.completions("containers/mine.yaml", 3, 5)
        assert {"memory.max", "pids.max"} <= files.keys() and "syscalls" not in files

    session(talk)


def test_the_host_s_names_are_completed_in_flow_style(session: Run) -> None:
    rules = "host/rules.yaml"

    async def talk(s: Session) -> None:
        text = s.text(rules).rstrip() + "\n  - {who: run, may: [mod], what: pri, why: x}\n"  # below `quiet`
        s.open(rules, text)
        line = text.count("\n") - 1
        row = text.split("\n")[line]
        who = await s.completions(rules, line, row.index("run") + 3)
        may = await s.completions(rules, line, row.index("mod") + 3)
        what = await s.completions(rules, line, row.index("pri") + 3)
        assert "runtime" in who and "modify" not in who
        assert "modify" in may and "runtime" not in may
        assert {"private", "objects", "everything"} <= what.keys()

    session(talk)


def test_arguments_and_constants_are_those_of_the_call_beside(session: Run) -> None:
    async def talk(s: Session) -> None:
        row = "    - {call: clone, flags: {none-of: [NEWU]}, why: x}"
        text = f"container: mine\nwhy: A test.\nsyscalls:\n  allow-when:\n{row}\n"
        s.open("containers/mine.yaml", text)
        flags = await s.completions("containers/mine.yaml", 4, row.index("NEWU") + 4)
        assert {"NEWUSER", "NEWNS"} <= flags.keys() and "INET" not in flags
        keys = await s.completions("containers/mine.yaml", 4, row.index("flags") + 2)
        assert "flags" in keys and "family" not in keys

    session(talk)


def test_hover_says_what_a_name_grants_in_each_layer(session: Run) -> None:
    async def talk(s: Session) -> None:
        row = "sockets: {families: [unix, packet], why: x}"
        calls = "syscalls: {allow: [mount, '@time-read']}"
        text = f"container: mine\nextends: ordinary\nwhy: A test.\n{row}\ncapabilities: [NET_RAW]\n{calls}\n"
        s.open("containers/mine.yaml", text)
        family = await s.hover("containers/mine.yaml", 3, row.index("packet") + 2)
        assert "family 17" in family and "`packet_socket`" in family
        capability = await s.hover("containers/mine.yaml", 4, 17)
        assert "capabilities: bit 13" in capability and "`capability { net_raw }`" in capability
        call = await s.hover("containers/mine.yaml", 5, 21)
        assert "x86_64 165" in call and "aarch64 40" in call
        group = await s.hover("containers/mine.yaml", 5, 30)
        assert "`clock_gettime`" in group
        extends = await s.hover("containers/mine.yaml", 1, 12)
        assert "`container_t`" in extends and "`CHOWN`" in extends
        assert "key" in await s.hover("containers/mine.yaml", 1, 3)
        assert await s.hover("containers/mine.yaml", 2, 10) == ""

    session(talk)


def test_hover_on_a_verb_lists_its_permissions(session: Run) -> None:
    rules = "host/rules.yaml"

    async def talk(s: Session) -> None:
        text = s.text(rules)
        s.open(rules)
        line, column = _line(text, "may: ")
        said = await s.hover(rules, line, column + 7)
        assert "SELinux:" in said and "{" in said

    session(talk)


def test_definition_leads_to_the_declaration(session: Run) -> None:
    async def talk(s: Session) -> None:
        s.open(WEB)
        line, column = _line(s.text(WEB), "extends: ordinary")
        found = await s.definition(WEB, line, column + 12)
        assert found is not None and found.uri == s.uri("containers/ordinary.yaml")
        where = _line(s.text("containers/ordinary.yaml"), "container: ordinary")
        assert (found.range.start.line, found.range.start.character) == (where[0], len("container: "))
        row = _line(s.text("containers/ordinary.yaml"), '"@file-io"')
        s.open("containers/ordinary.yaml")
        group = await s.definition("containers/ordinary.yaml", row[0], row[1] + 4)
        assert group is not None and group.uri == s.uri("containers/groups.yaml")
        assert await s.definition(WEB, 0, 1) is None

    session(talk)


def test_columns_are_counted_as_the_client_counts_them(session: Run) -> None:
    async def talk(s: Session) -> None:
        # Each of these characters is two units of UTF-16.
        text = "container: mine\nwhy: x\nselinux: {domain: '\U0001f512\U0001f512', nonsens: a}\n"
        s.open("containers/mine.yaml", text)
        found = await s.until("containers/mine.yaml", bool)
        fault = next(fault for fault in found if "unknown key `nonsens`" in fault.message)
        row = text.split("\n")[2]
        units = len(row[: row.index("nonsens")].encode("utf-16-le")) // 2
        assert (fault.range.start.character, fault.range.end.character) == (units, units + len("nonsens"))

    session(talk)


def test_a_file_outside_any_policy_is_left_alone(session: Run) -> None:
    async def talk(s: Session) -> None:
        s.open("../other.yaml", "a: b\n")
        assert await s.completions("../other.yaml", 0, 3) == {}
        assert await s.hover("../other.yaml", 0, 0) == ""
        s.open(WEB)
        await s.until(WEB, lambda found: True)
        assert s.uri("../other.yaml") not in s.diagnostics

    session(talk)


def test_symbols_are_what_a_file_declares(session: Run) -> None:
    async def talk(s: Session) -> None:
        s.open("host/verbs.yaml")
        asked = lsp.DocumentSymbolParams(lsp.TextDocumentIdentifier(s.uri("host/verbs.yaml")))
        found = await s.client.text_document_document_symbol_async(asked) or ()
        names = {symbol.name for symbol in found}
        assert {"modify", "relabel"} <= names and "runtime" not in names

    session(talk)


def test_nonsense_gets_faults_and_no_end_of_the_server(session: Run) -> None:
    async def talk(s: Session) -> None:
        s.open(WEB)
        for text in ("", "\t", "{[", "a: &x [*x]", "- " * 5000, "\x00", "---\n---\n", "'"):
            s.change(WEB, text)
            assert await s.completions(WEB, 0, 0) is not None
            await s.hover(WEB, 0, 0)
            await s.definition(WEB, 0, 0)
        assert await s.until(WEB, bool)

    session(talk)


def test_formatting_is_what_fmt_writes_and_faults_stay_as_they_are(session: Run) -> None:
    async def talk(s: Session) -> None:
        shipped = s.text("containers/web.yaml")
        untidy = shipped.replace("why: ", "why:   ", 1)
        assert untidy != shipped
        s.open("containers/web.yaml", untidy)
        options = lsp.FormattingOptions(tab_size=2, insert_spaces=True)
        asked = lsp.DocumentFormattingParams(lsp.TextDocumentIdentifier(s.uri("containers/web.yaml")), options)
        (edit,) = await s.client.text_document_formatting_async(asked) or []
        assert edit.new_text == shipped
        assert (edit.range.start, edit.range.end.line > shipped.count("\n")) == (lsp.Position(0, 0), True)
        for text in (shipped, "container: [\n"):
            s.change("containers/web.yaml", text)
            assert not await s.client.text_document_formatting_async(asked)

    session(talk)
