"""Under `torch.compile` and `torch.export`, layers run the same kernels, one operator for each in a graph."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, library, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import gatewise
from gatewise import dropout, sigmoid, tanh, zoneout

pytestmark = pytest.mark.usefixtures("quickly")

T, B, I, H = 5, 4, 3, 6


@pytest.fixture(scope="module", autouse=True)
def _tracer() -> Iterator[None]:
    """The tracer, skipped by the garbage collector, which runs at each reset and after each compilation."""
    import torch._dynamo

    gc.collect()
    gc.freeze()
    yield
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _forgotten(_tracer: None) -> None:
    """Reset all state of the compiler, so that no test sees what another one compiled."""
    torch._dynamo.reset()


@gatewise.cell
def chancy(h, *, f, g):  # type: ignore[no-untyped-def]
    """Random operations in the equations themselves."""
    f = dropout(sigmoid(f), 0.2)
    h = zoneout(h, f * h + (1 - f) * tanh(g), 0.1)
    return h


class Steps(nn.Module):
    """A cell that is called once for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = gatewise.nn.LSTMCell(I, H)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state = None
        for step in x:
            state = self.cell(step, state)
        assert isinstance(state, tuple)
        return state


class Several(nn.Module):
    """Layers of several cells with several options."""

    def __init__(self) -> None:
        super().__init__()
        self.first = gatewise.nn.LSTM(I, H, zoneout=0.1)
        self.second = gatewise.nn.GRU(H, H, zoneout=0.2, recurrent_dropout=0.3)
        self.third = gatewise.nn.Recurrent(chancy, H, H)

    def forward(self, x: Tensor) -> Any:
        return self.third(self.second(self.first(x)[0])[0])


def lstm(**options: Any) -> gatewise.nn.LSTM:
    return gatewise.nn.LSTM(I, H, **options)


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "lstm": (lstm, {}),
    "rnn, rows first": (lambda: gatewise.nn.RNN(I, H, batch_first=True), {}),
    "stack": (lambda: lstm(num_layers=3), {}),
    "stack in both directions": (lambda: gatewise.nn.GRU(I, H, num_layers=2, bidirectional=True), {}),
    "projected, no biases": (lambda: lstm(proj_size=2, bias=False), {}),
    "states": (lstm, {"hx": (torch.ones(1, B, H), torch.ones(1, B, H))}),
    "learned states": (lambda: lstm(learn_initial_state=True), {}),
    "reset": (lambda: lstm(bidirectional=True), {"reset": torch.eye(T, B, dtype=torch.bool)}),
    "zoneout": (lambda: lstm(zoneout=0.3), {}),
    "zoneout outside of training": (lambda: lstm(zoneout=0.3).eval(), {}),
    "recurrent dropout": (lambda: gatewise.nn.GRU(I, H, bidirectional=True, recurrent_dropout=0.3), {}),
    "weight drop": (lambda: lstm(weight_drop=0.3), {}),
    "layer norm": (lambda: gatewise.nn.Recurrent(gatewise.cells.lstm_layer_norm, I, H), {}),
    "chance in the cell": (lambda: gatewise.nn.Recurrent(chancy, I, H, num_layers=2), {}),
    "edited": (lambda: gatewise.edit(lstm(zoneout=0.2), "l0", f=1.0, steps=slice(1, 3)), {}),
    "checkpoint": (lambda: lstm(checkpoint=2), {}),
    "single steps": (Steps, {}),
    "several": (Several, {}),
    "several outside of training": (lambda: Several().eval(), {}),
}


def flat(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [tensor for part in found for tensor in flat(part)]


def everything(model: nn.Module, call: Callable[..., Any], x: Tensor, others: dict[str, Any]) -> list[Tensor]:
    """Results, and the gradients of a function of them."""
    model.zero_grad()
    x = x.detach().clone().requires_grad_()
    torch.manual_seed(1)
    results = flat(call(x, **others))
    torch.autograd.backward([result.square().sum() for result in results])
    gradients = [leaf.grad for leaf in (x, *model.parameters())]
    return [*results, *(gradient for gradient in gradients if gradient is not None)]


def assert_same(model: nn.Module, call: Callable[..., Any], x: Tensor, others: dict[str, Any]) -> None:
    # The compiled call comes first, so no fact about the cells is cached yet.
    found = everything(model, torch.compile(call, fullgraph=True, backend="aot_eager"), x, others)
    expected = everything(model, call, x, others)
    assert len(found) == len(expected) > len(list(model.parameters()))
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(("make", "others"), MODELS.values(), ids=MODELS)
def test_a_single_graph_gives_the_same_results(make: Callable[[], nn.Module], others: dict[str, Any]) -> None:
    model = make()
    assert_same(model, model, torch.randn(T, B, I), others)


@pytest.mark.parametrize("name", ["zoneout outside of training", "edited"])
def test_the_interpreter_in_a_graph_gives_the_same_results(name: str) -> None:
    make, others = MODELS[name]
    model = make().bfloat16()
    assert_same(model, model, torch.randn(2, B, I).bfloat16(), others)


def collecting(graphs: list[torch.fx.GraphModule]) -> Callable[..., Any]:
    """A backend that collects graphs, and runs them unchanged."""

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    return backend


def graphs_of(model: nn.Module, *args: Any, **kwargs: Any) -> list[torch.fx.GraphModule]:
    graphs: list[torch.fx.GraphModule] = []
    torch.compile(model, backend=collecting(graphs))(*args, **kwargs)
    return graphs


def operators_in(graph: torch.fx.GraphModule | Any) -> list[str]:
    return [str(node.target) for node in graph.graph.nodes if "gatewise" in str(node.target)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("options", [{"bidirectional": True}, {"num_layers": 2}], ids=str)
def test_on_threads(options: dict[str, Any], threads: int) -> None:
    """Enough work for two threads: directions run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        one = gatewise.nn.LSTM(32, 64, **options)
        assert_same(one, one, torch.randn(100, 16, 32), {})
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dynamic", [None, True, False])
def test_other_sizes_and_rates_are_traced_again(dynamic: bool | None) -> None:
    one = gatewise.nn.GRU(
        I, H, num_layers=2, dropout=0.2, zoneout=0.1, recurrent_dropout=0.3, weight_drop=0.1
    )
    compiled = torch.compile(one, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rates, sizes in [((0.1, 0.3), (T, B)), ((0.4, 0.3), (T, B)), ((0.4, 0.7), (T + 3, B + 1))]:
        one.zoneout, one.recurrent_dropout = rates[:1], rates[1]
        x = torch.randn(*sizes, I)
        found, expected = (everything(one, call, x, {}) for call in (compiled, one))
        assert all(map(torch.equal, found, expected))


def test_a_layer_in_both_directions_is_one_operator() -> None:
    (graph,) = graphs_of(lstm(num_layers=2, bidirectional=True), torch.randn(T, B, I))
    assert operators_in(graph) == ["gatewise.scan"] * 2


class Ragged(nn.Module):
    """A layer over rows of different lengths, with other operations around it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = lstm(bidirectional=True)

    def forward(self, x: Tensor | PackedSequence, lengths: Tensor | None = None) -> Tensor:
        output = self.layer(x, lengths=lengths)[0]
        return (output if isinstance(output, Tensor) else output.data) * 2


@torch.no_grad()
def test_lengths_break_the_graph() -> None:
    model, x, lengths = Ragged(), torch.randn(T, B, I), torch.tensor([5, 0, 2, 3])
    packed = pack_sequence([torch.randn(n, I) for n in (4, 2)])
    graphs: list[torch.fx.GraphModule] = []
    compiled = torch.compile(model, backend=collecting(graphs))
    with gatewise.strict():
        found = compiled(x, lengths), compiled(packed)
    assert all(map(torch.equal, found, (model(x, lengths), model(packed))))
    assert [operators_in(graph) for graph in graphs] == [[]] * len(graphs)


def test_lengths_with_fullgraph_are_refused() -> None:
    compiled = torch.compile(Ragged(), fullgraph=True, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match="_between_graphs"):
        compiled(torch.randn(T, B, I), [5, 0, 2, 3])


def test_equal_scans_share_saved_values() -> None:
    """The compiler merges both scans. The gradient of one must not free the saved values of the other."""
    one = lstm()

    def call(x: Tensor) -> Any:
        return (one(x)[0] + one(x)[0] ** 2).sum()

    assert_same(one, call, torch.ones(T, B, I), {})


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Any]], Any]] = {
    "vmap": lambda f: lambda x: torch.func.vmap(f)(torch.stack([x, -x])),
    "grad": lambda f: torch.func.grad(lambda x: (f(x) ** 2).sum()),
    "jvp": lambda f: lambda x: torch.func.jvp(f, (x,), (x,))[1],
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own
def test_transforms_inside_and_outside(transform: Any) -> None:
    one, x = lstm(), torch.randn(2, B, I)

    def output(x: Tensor) -> Any:
        return one(x)[0]

    expected = transform(output)(x)
    inside: Any = torch.compile(transform(output), fullgraph=True, backend="eager")
    torch.testing.assert_close(inside(x), expected)
    compiled = torch.compile(output, backend="eager")
    compiled(x)
    torch.testing.assert_close(transform(compiled)(x), expected)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[bool, Any], Path]:
    """Programs by strictness; a folder with these, and with an input and a result of other lengths."""
    folder = tmp_path_factory.mktemp("exported")
    one = gatewise.nn.Recurrent(chancy, I, H, bidirectional=True).eval()
    sizes = {0: torch.export.Dim("T", min=2), 1: torch.export.Dim("B", min=2)}
    x = torch.randn(T + 2, B + 3, I)
    torch.save((x, one(x)[0].detach()), folder / "expected.pt")
    programs: dict[bool, Any] = {}
    for strict in (False, True):
        torch._dynamo.reset()
        given = (torch.randn(T, B, I),)
        programs[strict] = torch.export.export(one, given, dynamic_shapes=(sizes,), strict=strict)
        torch.export.save(programs[strict], folder / f"{strict}.pt2")
    return programs, folder


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_takes_other_lengths(
    strict: bool, exported: tuple[dict[bool, Any], Path]
) -> None:
    programs, folder = exported
    program, (x, expected) = programs[strict], torch.load(folder / "expected.pt")
    assert operators_in(program) == ["gatewise.scan.default"]
    assert torch.equal(program.module()(x)[0], expected)


def test_programs_run_in_another_process_where_layers_do_not_import_the_tracer(
    exported: tuple[dict[bool, Any], Path],
) -> None:
    """The import of the tracer takes longer than that of all the rest of torch."""
    script = (
        "import sys, torch, gatewise.nn; folder = sys.argv[1];"
        "print('torch._dynamo' in sys.modules);"
        "x, y = torch.load(folder + '/expected.pt');"
        "programs = [torch.export.load(f'{folder}/{strict}.pt2') for strict in (False, True)];"
        "print(*(torch.equal(program.module()(x)[0], y) for program in programs))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(exported[1])], check=True, timeout=300, stdout=-1, text=True
    )
    assert found.stdout.split() == ["False", "True", "True"]


def test_a_program_exported_without_gradients_has_none() -> None:
    one, x = lstm(), torch.randn(T, B, I)
    with torch.no_grad():
        program = torch.export.export(one, (x,))
    assert not program.module()(x)[0].requires_grad


@pytest.mark.parametrize("lengths", [None, [5, 0, 2, 3]])
def test_a_watched_layer(lengths: list[int] | None) -> None:
    one, x = lstm(), torch.randn(T, B, I)
    compiled = torch.compile(one, backend="aot_eager")
    compiled(x)
    with gatewise.watch(one) as seen:
        compiled(x, lengths=lengths)
    with gatewise.watch(one) as expected:
        one(x, lengths=lengths)
    for name in expected["l0"].names:
        assert torch.equal(seen["l0"][name].nan_to_num(9), expected["l0"][name].nan_to_num(9))


def strict_sees(before: bool) -> None:
    x = torch.randn(2, B, I)
    fast, slow = lstm(), lstm().bfloat16()
    calls = [torch.compile(one, fullgraph=True, backend="aot_eager") for one in (fast, slow)]
    if before:
        calls[0](x), calls[1](x.bfloat16())
    with gatewise.strict():
        calls[0](x)
        with pytest.raises(RuntimeError, match=r"strict: lstm \(3 inputs, 6 units\) .* torch.bfloat16"):
            calls[1](x.bfloat16())
        with pytest.raises(RuntimeError, match=r"strict: lstm .* would copy the input"):
            calls[0](torch.randn(I, B, 2).transpose(0, 2))
    calls[1](x.bfloat16())


@pytest.mark.parametrize("before", [False, True], ids=["compiled inside", "compiled before"])
def test_strict_refuses_slow_paths_in_a_graph(before: bool) -> None:
    with ThreadPoolExecutor(1) as pool:  # a new thread, in which there was no listener yet
        pool.submit(strict_sees, before).result()


def test_strict_is_compiled_once() -> None:
    one, x = lstm(), torch.randn(T, B, I)
    graphs: list[torch.fx.GraphModule] = []
    compiled = torch.compile(one, backend=collecting(graphs))
    for _ in range(3):
        compiled(x)
        with gatewise.strict():
            compiled(x)
    assert len(graphs) == 2


@pytest.mark.parametrize("around", [False, True], ids=["in it", "around it too"])
def test_a_compiled_model_is_explained(around: bool) -> None:
    inside, x = nn.Sequential(lstm()), torch.randn(T, B, I)
    inside[0].compile(backend="eager")
    model: Any = torch.compile(inside, backend="eager") if around else inside
    model(x)
    (one,) = gatewise.explain(model, x).layers
    assert (one.name[-4:], one.runs_in, one.calls) == ("0.l0", "compiled kernel", 1)
    assert one.kernel == gatewise.explain(inside[0], x)["l0"].kernel
    assert one.kernel is not None


@pytest.mark.parametrize("keep", [False, True])
def test_the_operator_passes_the_checks_of_torch(keep: bool) -> None:
    graphs = graphs_of(lstm(zoneout=0.1), torch.randn(T, B, I))
    (node,) = (node for node in graphs[0].graph.nodes if "gatewise" in str(node.target))
    described = node.args[1]
    one = lstm()
    tensors = [torch.randn(T, B, I), *(weight.detach() for weight in one.parameters())]
    arguments: Any = (
        [tensor.requires_grad_(keep) for tensor in tensors],
        described,
        keep,
        [],
        [torch.tensor(7)],
    )
    library.opcheck(torch.ops.gatewise.scan.default, arguments)


def test_the_operator_reads_no_tensors_of_other_types() -> None:
    graphs = graphs_of(lstm(), torch.randn(T, B, I))
    (node,) = (node for node in graphs[0].graph.nodes if "gatewise" in str(node.target))
    tensors = [torch.randn(T, B, I).double(), *(weight.detach() for weight in lstm().parameters())]
    with pytest.raises(TypeError, match="takes CPU tensors, all float32 or all float64"):
        torch.ops.gatewise.scan(tensors, node.args[1], False, [], [])


@torch.no_grad()
def test_the_operator_takes_none_for_an_empty_list() -> None:
    """AOTInductor passes None for an empty list."""
    one, x = lstm(), torch.randn(T, B, I)
    graphs = graphs_of(one, x)
    (node,) = (node for node in graphs[0].graph.nodes if "gatewise" in str(node.target))
    found = torch.ops.gatewise.scan([x, *one.parameters()], node.args[1], False, None, None)
    assert torch.equal(found[0], one(x)[0])
