"""Rich displays: the table, and a progress bar by a stand-in for `IPython.display`."""

import sys
import types

from benchkit.core.progress import silent
from benchkit.report import notebook
from benchkit.report.notebook import NotebookBar, default_progress, records_html


class Handle:
    def __init__(self):
        self.updates = []

    def update(self, drawn):
        self.updates.append(drawn)


class Display(types.ModuleType):
    """As much of `IPython.display` as the bar uses."""

    def __init__(self):
        super().__init__("IPython.display")
        self.shown, self.handle = [], Handle()

    def HTML(self, text):
        return text

    def display(self, drawn, *, display_id):
        assert display_id
        self.shown.append(drawn)
        return self.handle


def test_one_bar_redraws_itself():
    display = Display()
    bar = NotebookBar(display)
    bar("cell <1>", 0.25)
    bar("cell 2", 7.0)
    bar("no share known")
    assert display.shown == ['<progress value="0.250"></progress> cell &lt;1&gt;']
    assert display.handle.updates == [
        '<progress value="1.000"></progress> cell 2',
        "<progress></progress> no share known",
    ]


def test_outside_a_kernel_there_is_no_bar(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert default_progress() is silent


def test_in_a_kernel_there_is_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    display = Display()
    monkeypatch.setattr(notebook.importlib, "import_module", {"IPython.display": display}.__getitem__)
    default_progress()("measuring", 0.5)
    assert display.shown == ['<progress value="0.500"></progress> measuring']


def test_the_table_of_records_has_a_row_each_and_is_escaped(troubled, make_facts, make_profile):
    shown = records_html([*troubled, make_profile(make_facts("<script>x</script>"))])
    assert shown.count("<tr>") == 6
    assert "<script" not in shown
    assert "&lt;script&gt;x&lt;/script&gt;" in shown
    assert "title=" in shown
