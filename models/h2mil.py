"""H2-MIL: a graph of patches at two magnifications and their slide, convolved and pooled level by level."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Places
from .layers.cells import parents
from .layers.dropout import Dropout
from .layers.scatter import scatter_mean, scatter_softmax, scatter_sum
from .public_weights import PublicWeights
from .spec import ModelSpec

ROOT, COARSE, FINE = 0, 1, 2  # levels
THUMBNAIL, SCALES = 1, (5, 10)


@dataclass(frozen=True)
class Tree:
    """The graph of one slide: node 0 is its root, then 5x, then 10x patches.

    Attributes:
        x: features of the nodes, (n, d).
        level: ROOT, COARSE or FINE, (n,).
        position: in [-1, 1], (n, 2).
        edges: (sender, receiver), (2, e), both directions, each once.
        parent: the 5x node of each 10x node; -1 for other nodes, (n,).
    """

    x: Tensor
    level: Tensor
    position: Tensor
    edges: Tensor
    parent: Tensor


class GraphNorm(nn.Module):
    """Subtract the mean and divide by the standard deviation over all nodes and features at once; one weight, one bias.

    This is what LayerNorm was in torch_geometric before version 2.
    """

    def __init__(self) -> None:
        """Weight 1, bias 0."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the nodes of one graph: (n, d) -> (n, d)."""
        x = x - x.mean()
        return x / (x.std(correction=0) + 1e-5) * self.weight + self.bias


class RAConv(nn.Module):
    """Attention over the levels around a node, and within each level over its neighbours (Hou et al. 2022).

    l = W x, g = W' x. t_k of a level k around i: softmax over the levels of leaky(a_l . mean of g_j + a_r . g_i), j the
    neighbours of that level; b_j: softmax within it of leaky(c_l . l_j + c_r . l_i). out_i = sum of t b_j l_j + bias.
    """

    def __init__(self, width: int, hidden: int) -> None:
        """Bring nodes of `width` to `hidden`."""
        super().__init__()
        self.value, self.level_value = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        vectors = [nn.Parameter(torch.empty(hidden)) for _ in range(4)]
        for vector in vectors:
            nn.init.uniform_(vector, -((6 / (hidden + 1)) ** 0.5), (6 / (hidden + 1)) ** 0.5)  # Glorot
        self.sender, self.receiver, self.level_sender, self.level_receiver = vectors
        self.bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, x: Tensor, edges: Tensor, level: Tensor) -> Tensor:
        """x (n, width), edges (2, e), level (n,) -> (n, hidden)."""
        sender, receiver = edges
        group = receiver * 3 + level[sender]  # (e,) a node and a level around it
        around, of_group = torch.unique(group, return_inverse=True)  # (g,), (e,)
        node = around // 3  # (g,)
        value, g = self.value(x), self.level_value(x)  # (n, hidden)
        # Scores are linear before the leaky ReLU, so the mean over a level is one of numbers, not of vectors.
        seen = scatter_mean((g @ self.level_sender)[sender, None], of_group, len(around))  # (g, 1)
        score = F.leaky_relu(seen + (g @ self.level_receiver)[node, None], 0.2)
        of_level = scatter_softmax(score, node, len(x))  # (g, 1)
        score = F.leaky_relu((value @ self.sender)[sender] + (value @ self.receiver)[receiver], 0.2)
        within = scatter_softmax(score[:, None], of_group, len(around))  # (e, 1)
        return scatter_sum(of_level[of_group] * within * value[sender], receiver, len(x)) + self.bias


class IHPool(nn.Module):
    """Iterative hierarchical pooling: 5x nodes are gathered around every s-th of them, then the 10x nodes under each.

    Nodes are sorted by fitness tanh(w . x / |w|). Each joins the centre with the least distance of position and
    fitness. w only sorts and assigns, so nothing trains it: it is a fixed random direction, as in the public code.
    """

    coarse: Tensor
    fine: Tensor

    def __init__(self, width: int, ratio: float) -> None:
        """Below 1, `ratio` is the share of nodes that become centres; from 1 on, about their number."""
        super().__init__()
        if ratio <= 0:
            raise ValueError(f"a pooling ratio is positive, not {ratio}")
        self.ratio = ratio
        for name in ("coarse", "fine"):
            self.register_buffer(name, torch.empty(width).uniform_(-(width**-0.5), width**-0.5))

    @torch.no_grad()
    def assigned(self, tree: Tree) -> Tensor:
        """The pooled node of each node, (n,): the root, then pooled 5x nodes, then the pooled 10x nodes of each."""
        cluster = torch.zeros_like(tree.level)
        nodes = (tree.level == COARSE).nonzero().squeeze(1)
        found, count = self._gathered(tree, nodes, self.coarse, self._step(len(nodes), False))
        cluster[nodes] = 1 + found
        total = 1 + count
        fine = (tree.level == FINE).nonzero().squeeze(1)
        above = cluster[tree.parent[fine]]  # the pooled 5x node that each 10x node is under
        for pooled in range(1, total):
            nodes = fine[above == pooled]
            if len(nodes):
                found, count = self._gathered(tree, nodes, self.fine, self._step(len(nodes), True))
                cluster[nodes] = total + found
                total += count
        return cluster

    def _step(self, n: int, under_parent: bool) -> int:
        """Every how many nodes one is a centre."""
        if self.ratio < 1:
            return math.ceil(n / (n * self.ratio))
        if under_parent:
            return max(1, n - 1)
        return 1 if n < self.ratio else math.ceil(n / self.ratio)

    def _gathered(self, tree: Tree, nodes: Tensor, weight: Tensor, step: int) -> tuple[Tensor, int]:
        """The centre that each of some nodes joins, numbered, (n,), and how many there are."""
        fitness = torch.tanh(tree.x[nodes] @ weight / weight.norm())  # (n,)
        centres = nodes[fitness.argsort(stable=True)[::step]]  # (c,)
        best = torch.tanh(tree.x[centres] @ weight / weight.norm())
        apart = (tree.position[nodes, None] - tree.position[centres]).double().norm(dim=2)  # (n, c)
        return (apart + (fitness[:, None] - best).abs()).argmin(1), len(centres)

    def forward(self, tree: Tree) -> Tree:
        """Pool a graph: means of features and positions; two pooled nodes are joined where any of theirs were."""
        cluster = self.assigned(tree)
        n = int(cluster.max()) + 1
        level = torch.empty_like(tree.level[:n]).scatter_(0, cluster, tree.level)
        loops = torch.arange(n, device=cluster.device).expand(2, n)
        edges = torch.unique(torch.cat([cluster[tree.edges], loops], 1), dim=1)
        above = torch.where(tree.parent < 0, -1, cluster[tree.parent.clamp(min=0)])
        return Tree(
            scatter_mean(tree.x, cluster, n),
            level,
            scatter_mean(tree.position, cluster, n),
            edges,
            torch.empty_like(cluster[:n]).scatter_(0, cluster, above),
        )


class H2MIL(nn.Module):
    """Heterogeneous graph convolutions and hierarchical pooling, twice; the mean of the nodes after each (Hou 2022).

    X = norm(x); X = norm(ReLU(RAConv(X))); pool, x1 = mean; X = norm(ReLU(RAConv(X))); pool, x2 = mean; z = x1 + x2;
    scores = L(norm(ReLU(L(z)))), one norm for all. Every slide is a graph of its own; z of a patient is the mean over
    its slides. The root of a slide is its thumbnail's vector where features at 1x give one for each slide, else the
    mean of its 5x features.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        hidden: int = 256,
        pool1: float = 0.1,
        pool2: float = 4.0,
        dropout: float = 0.3,
        input_dropout: float = 0.0,
    ) -> None:
        """Convolve `dim` to `hidden`; `pool1` and `pool2` are the ratios of the poolings."""
        super().__init__()
        self.input_dropout, self.dropout = Dropout(input_dropout), Dropout(dropout)
        self.norm = GraphNorm()
        self.conv1, self.conv2 = RAConv(dim, hidden), RAConv(hidden, hidden)
        self.pool1, self.pool2 = IHPool(hidden, pool1), IHPool(hidden, pool2)
        self.lin1, self.lin2 = nn.Linear(hidden, hidden // 2), nn.Linear(hidden // 2, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        scores = []
        for slides in places.slide[SCALES[0]].split(lengths[SCALES[0]].tolist()):
            trees = [self.tree(features, places, int(slide)) for slide in torch.unique(slides)]
            z = torch.stack([self.read(tree) for tree in trees]).mean(0, keepdim=True)  # (1, hidden)
            scores.append(self.lin2(self.norm(torch.relu(self.lin1(z)))))
        return torch.cat(scores)  # (b, n_out)

    def read(self, tree: Tree) -> Tensor:
        """One slide's vector, (hidden,)."""
        x = self.norm(self.input_dropout(tree.x))
        x = self.dropout(self.norm(torch.relu(self.conv1(x, tree.edges, tree.level))))
        tree = self.pool1(Tree(x, tree.level, tree.position, tree.edges, tree.parent))
        first = tree.x.mean(0)
        x = self.norm(torch.relu(self.conv2(tree.x, tree.edges, tree.level)))
        tree = self.pool2(Tree(x, tree.level, tree.position, tree.edges, tree.parent))
        return first + tree.x.mean(0)

    def tree(self, features: Mapping[int, Tensor], places: Places, slide: int) -> Tree:
        """The graph of one slide of a batch: neighbours of the 8 cells around, parents, and the root above all 5x."""
        rows = {m: (places.slide[m] == slide).nonzero().squeeze(1) for m in SCALES}
        coarse, fine = (places.cells[m][rows[m]] for m in SCALES)  # (n5, 2), (n10, 2)
        flat = [torch.zeros(len(c), dtype=torch.int32, device=c.device) for c in (coarse, fine)]
        above = 1 + parents((fine, flat[1]), (coarse, flat[0]), 2)  # (n10,) nodes
        n5, n10 = len(coarse), len(fine)
        own5 = torch.arange(1, 1 + n5, device=coarse.device)
        own10 = torch.arange(1 + n5, 1 + n5 + n10, device=coarse.device)
        tree = torch.cat([torch.stack([torch.zeros_like(own5), own5]), torch.stack([above, own10])], 1)
        edges = torch.cat([adjacent(coarse) + 1, adjacent(fine) + 1 + n5, tree, tree.flip(0)], 1)
        origin = torch.minimum(coarse.amin(0) * 2, fine.amin(0))
        width = int((torch.maximum(coarse.amax(0) * 2 + 1, fine.amax(0)) - origin).max()) + 1
        middle = torch.cat([(coarse + 0.5) * 2 - origin, fine + 0.5 - origin]) / width  # (n5 + n10, 2) in [0, 1]
        position = F.pad(middle, (0, 0, 1, 0)) * 2 - 1
        x5, x10 = (features[m][rows[m]] for m in SCALES)
        given = features.get(THUMBNAIL)
        root = x5.mean(0, keepdim=True) if given is None else given[slide, None]
        level = torch.tensor([ROOT] + [COARSE] * n5 + [FINE] * n10, device=coarse.device)
        parent = torch.cat([torch.full((1 + n5,), -1, device=coarse.device), above])
        return Tree(torch.cat([root, x5, x10]), level, position.to(x5.dtype), edges, parent)


def adjacent(cells: Tensor) -> Tensor:
    """Edges (2, e) between the patches of one slide whose cells touch, at a side or a corner, or are the same."""
    n = len(cells)
    where = cells.long() - cells.long().amin(0) + 1
    width = int(where[:, 0].max()) + 2
    key, order = (where[:, 1] * width + where[:, 0]).sort(stable=True)
    step = torch.tensor([-width - 1, -width, -width + 1, -1, 0, 1, width - 1, width, width + 1], device=cells.device)
    wanted = (key + step[:, None]).flatten()  # (9 n,)
    start, end = torch.searchsorted(key, wanted), torch.searchsorted(key, wanted, right=True)
    count = end - start
    sender = torch.repeat_interleave(torch.arange(n, device=cells.device).repeat(9), count)
    first = torch.repeat_interleave(start - (count.cumsum(0) - count), count)
    edges = torch.stack([order[sender], order[first + torch.arange(len(first), device=cells.device)]])
    return edges[:, edges[0] != edges[1]]


_CONVOLUTION = (
    (r"\.value\.", ".lin_l."),
    (r"\.level_value\.", ".t_lin_l."),
    (r"\.sender$", ".att_l"),
    (r"\.receiver$", ".att_r"),
    (r"\.level_sender$", ".t_att_l"),
    (r"\.level_receiver$", ".t_att_r"),
)

WEIGHTS = PublicWeights(
    case="h2mil",
    model="h2mil",
    read=lambda given: (
        given["conv1.lin_l.weight"].shape[1],
        given["lin2.bias"].shape[0],
        {"hidden": given["conv1.lin_l.weight"].shape[0]},
    ),
    rules=(*_CONVOLUTION, (r"^pool([12])\.coarse$", r"pool_\1.weight_1"), (r"^pool([12])\.fine$", r"pool_\1.weight_2")),
    unused=(r"^pool_[12]\.(lin|att|gnn_score)\.", r"\.(t_)?lin_r\.weight$"),
)

SPEC = ModelSpec(
    name="h2mil",
    title="H2-MIL",
    build=H2MIL,
    scales=SCALES,
    defaults={"hidden": 128, "pool1": 0.1, "pool2": 4.0, "dropout": 0.25, "input_dropout": 0.0},
    reference_defaults={"hidden": 256, "pool1": 0.1, "pool2": 4.0, "dropout": 0.3, "input_dropout": 0.0},
    search_space={
        "hidden": (64, 128, 256),
        "pool1": (0.1, 0.25, 0.5),
        "pool2": (2.0, 4.0, 8.0),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="multi-scale",
    order_free=True,
    places=True,
    reference="Hou et al.: H2-MIL: Exploring Hierarchical Representation with Heterogeneous Multiple Instance Learning "
    "for Whole Slide Image Analysis. AAAI 2022.",
    equation="attention over levels and neighbours in the tree of slide, 5x and 10x; nodes pooled around centres "
    "chosen by fitness; twice, and the means after each are added",
    cost="linear in the patches of 5x and 10x, with a step for each pooled 5x node",
    repository="lin-lcx/H2-MIL ea472fe",
    licence="none stated",
    defects=(
        "The fitness only sorts and assigns, so its weights get no gradient, ever: they are fixed buffers here.",
        "LayerNorm runs on torch_geometric below 2 only, with one scalar for all features: written out here.",
        "Softmax before the cross entropy, and four outputs whatever the task: raw scores of any width here.",
        "The adjacency is a dense n x n matrix: edges are lists here.",
        "If the first 5x patch has no child, all parents shift: here parents are found by cells.",
        "The pooling's `lin`, `att` and `gnn_score` are never used: passed over in public weights.",
        "The root is a thumbnail's vector: the mean of the slide's 5x features where there are none at 1x.",
        "A threshold is tuned on the test set: nothing is here.",
    ),
)
