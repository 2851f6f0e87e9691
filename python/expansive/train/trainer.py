"""Three-phase training: backbone, expansion, head (Dablain et al. 2022, arXiv 2207.06080)."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from expansive.metrics import Evaluation
from expansive.train import checkpoint, evaluation
from expansive.train.backbone import backbone_phase
from expansive.train.checkpoint import PHASES, Checkpoint, Progress, Weights
from expansive.train.checks import check
from expansive.train.data import Collate, Pairs, Split, Unlabelled, labels_of, split
from expansive.train.embedding import Embeddings, embed, find_head, predict, predict_logits
from expansive.train.expand import Plan, make_plan
from expansive.train.head import head_phase, reinitialise
from expansive.train.journal import Journal
from expansive.train.loop import Phase, Record, State, seeded, train
from expansive.train.settings import Settings


@dataclass(eq=False)
class ThreePhaseTrainer(Settings):
    """Train a network on imbalanced data, then rebalance its head with synthetic embeddings.

    Phase 1 trains the whole network. Phase 2 embeds the training rows and plans synthetic
    embeddings for the small classes. Phase 3 trains the head alone on real and synthetic
    embeddings, which are made batch by batch. The embedding is what enters the head.

    Parameters
    ----------
    model : Module
        Any network that gives logits [batch, n_classes] (or an object that holds them as
        `logits`) for a batch of inputs, its one argument, as its head gives them. Trained in
        place. A part that comes in evaluation mode with frozen parameters alone (requires_grad
        False), such as a body with BatchNorm, stays in that mode.
    head : str
        Dotted name of its last module, such as ``"fc"`` or ``"classifier.2"``; the module's input
        must be of shape [batch, d], and its parameters its own.
    loss : str or callable
        Of phase 1: ``"ce"`` (cross-entropy), ``"focal"``, ``"ldam"``, ``"ldam_drw"``, ``"asl"``,
        ``"cb"``, ``"cb_focal"``, ``"logit_adjustment"`` or ``"balanced_softmax"``; one with
        parameters of your own, such as `losses.Focal` (gamma=1); or any
        (logits [batch, n_classes], labels [batch]) -> scalar. See `expansive.train.losses`, also
        for losses that need the class sizes or the epoch.
    head_loss : str, callable or None
        Of phase 3. None: the loss of phase 1, so that the head goes on from logits of the size
        that it has; one of this package is made anew from the class sizes of phase 3 and corrects
        nothing twice, any other callable enters it unchanged, with class weights that it holds.
        The paper's code leaves it open too, with cross-entropy and a new head (`reinit_head`) as
        its default.
    epochs, head_epochs : int
        Passes of phase 1 over the training rows; of phase 3 over real and synthetic rows.
    batch_size : int
        Rows per step and process.
    optimizer : callable or None
        (list of parameters) -> torch optimizer whose step needs no closure, called for each phase;
        its learning rates follow `schedule`. None: SGD with `lr`, `momentum` and `weight_decay`.
    lr, momentum, weight_decay : float
        Of SGD. The defaults are those of LDAM-DRW (Cao et al. 2019, arXiv 1906.07413).
    schedule : {"cosine", "step", "constant"}
        How the learning rate falls in each phase: to zero; x 0.01 after 80 % and x 0.0001 after
        90 % of the epochs; not at all.
    warmup_epochs : int
        Epochs of linear warm-up in each phase, at most half of it.
    method : {"eos", "smote", "random"} or callable
        How phase 2 plans; or (embeddings [n, d], labels [n]) -> `SynthesisPlan`.
    sampling_strategy : str, float or dict
        Rows to reach per class, as in imbalanced-learn.
    k : int or None
        Neighbours to draw from, for ``"eos"`` and ``"smote"``; None: 100 and 5.
    enemies : {"nearest", "neighborhood"}
        Which enemies ``"eos"`` draws from.
    expansion : (float, float)
        Range of the interpolation weight.
    reinit_head : bool
        Begin phase 3 with new weights, by the `reset_parameters` of the head's layers, rather than
        those of phase 1.
    val_fraction : float
        Share of each class to validate on when no `val_set` is given; a class with a single row
        stays in training.
    select : {"best", "last"}
        Which epoch's weights each phase ends with: the best by balanced accuracy on the
        validation rows (the latest of equals), or the last. The test set never decides.
    patience : int or None
        A phase ends after this many epochs since its best one, with the weights of that, and the
        next phase begins; needs ``select="best"``. `schedule` goes by `epochs` all the same. None:
        all epochs.
    seed : int
        Decides split, order, augmentation, dropout and synthetic rows. The model's first weights
        are the caller's.
    about : dict
        What else the run is, ready for JSON, such as ``{"data": "digits"}``: kept with the settings
        in checkpoints and results, and compared with them on resuming.
    checkpoint_dir : path-like or None
        Folder for a checkpoint after each epoch; the newest two of a phase are kept, and beside
        phase 3 the newest of phase 1.
    log_path : path-like or None
        File to append a JSON line per epoch to.
    cpu : bool
        Use the CPU even where accelerate finds an accelerator.
    mixed_precision : {"no", "bf16"} or None
        None: what ``accelerate launch`` was told, else ``"no"``.
    num_workers : int
        Processes that load rows.
    collate_fn : callable or None
        (list of pairs) -> (inputs, labels), a batch: for inputs of different lengths. None: torch's
        `default_collate`.
    progress : bool
        Show progress bars.
    on_epoch : callable or None
        (record) -> None, called after each epoch with the line for the log. Raising ends the run
        with the weights of the last epoch; `patience` stops early with those of the best.

    Attributes
    ----------
    plan : SynthesisPlan or None
        The plan of phase 2.
    embeddings : Embeddings or None
        Embeddings `x` [n, d] and labels `y` [n] of the training rows, from phase 2; on the GPU
        that trains if a GPU backend runs there, else on the CPU.
    seconds : dict of str to float
        Time spent in each phase so far.

    Raises
    ------
    ValueError
        For a setting out of its range, or an unknown head; lists the choices.

    Notes
    -----
    Runs on whatever accelerate finds: one device, or the processes of ``accelerate launch``. On
    the CPU the result is the same bits for the same seed, threads and library versions.

    Resuming compares the settings that decide the result, `head`, `about`, the shapes of the
    network, and of the data the labels in their order. Not the inputs, and of a callable the name
    alone, with the parameters of a dataclass or a `functools.partial`. Phase 1 goes on with other
    settings of phases 2 and 3 (`method`, `sampling_strategy`, `k`, `enemies`, `expansion`,
    `reinit_head`, `head_loss`, `head_epochs`). Once phase 3 has checkpoints, delete their folders,
    ``2-head-*``, to keep phase 1 and run the others anew on resuming.
    """

    model: nn.Module
    head: str = "fc"
    plan: Plan | None = field(default=None, init=False)
    embeddings: Embeddings | None = field(default=None, init=False)
    seconds: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, nn.Module):
            raise TypeError(f"model must be a torch module, not {type(self.model).__name__}")
        self._head = find_head(self.model, self.head)
        self._journal = Journal(self, self.head)
        self._rows: Split | None = None
        self._val: Embeddings | None = None
        self._before: nn.Module | None = None
        self._resumed: Checkpoint | None = None

    def fit(
        self,
        train_set: Pairs,
        val_set: Pairs | None = None,
        *,
        embed_set: Pairs | None = None,
        resume: bool = False,
    ) -> ThreePhaseTrainer:
        """Run the three phases.

        Parameters
        ----------
        train_set : Dataset
            (input, int label) pairs with labels 0 ... n_classes - 1. Labels are read from its
            `targets` if it has them, else in one pass.
        val_set : Dataset or None
            Pairs to select on; None takes `val_fraction` of each class out of the training set.
        embed_set : Dataset or None
            The rows of `train_set` in the same order without augmentation, to embed and to
            validate on. None takes `train_set` itself: if that is augmented, give its plain rows
            here for the best result.
        resume : bool
            Continue from the newest checkpoint, if there is one; it must be of the same run, see
            the notes of the class.

        Returns
        -------
        ThreePhaseTrainer
            Itself.

        Raises
        ------
        ValueError, TypeError
            For data or a loss that does not fit, before any work.
        CheckpointError
            When the checkpoint is damaged or belongs to another run.
        FileExistsError
            When `checkpoint_dir` holds checkpoints and `resume` is False.
        """
        rows = self._split(train_set, val_set, embed_set)
        self._backbone(rows, resume)
        self._expand(rows)
        self._train_head()
        return self

    def fit_backbone(
        self,
        train_set: Pairs,
        val_set: Pairs | None = None,
        *,
        embed_set: Pairs | None = None,
        resume: bool = False,
    ) -> None:
        """Run phase 1; see `fit`. Where it resumes a phase 3, `fit_head` goes on from there."""
        self._backbone(self._split(train_set, val_set, embed_set), resume)

    def expand(
        self, train_set: Pairs, val_set: Pairs | None = None, *, embed_set: Pairs | None = None
    ) -> Plan:
        """Run phase 2 with the network as it is, and give the plan; see `fit`.

        The same data sets and seed give the same split as `fit_backbone`.
        """
        return self._expand(self._split(train_set, val_set, embed_set))

    def fit_head(self) -> None:
        """Run phase 3 on the plan of `expand`.

        Raises
        ------
        RuntimeError
            Before `expand`.
        FileExistsError
            When `checkpoint_dir` holds a phase 3 that `fit_backbone` did not just resume, as when
            it is run twice.
        """
        self._train_head()

    def rebalance(
        self, data: Pairs, val_set: Pairs | None = None, *, resume: bool = False
    ) -> ThreePhaseTrainer:
        """Run phases 2 and 3 on the network as it is; see `rebalance_head`.

        Where there is no `val_set`, that sets ``select="last", val_fraction=0``; here `data` is
        split by the settings, so give it the same to keep all rows.
        """
        if not resume:
            self._journal.require_empty("head")
        rows = self._split(data, val_set, None, "data")
        self._resumed = self._restored(rows, "head") if resume else None
        self._expand(rows)
        self._train_head()
        return self

    def evaluate(self, test_set: Pairs) -> Evaluation:
        """Compare the heads of phase 1 and phase 3 on a test set.

        Parameters
        ----------
        test_set : Dataset
            (input tensor, int label) pairs, at least one of each class.

        Returns
        -------
        Evaluation

        Raises
        ------
        ValueError
            When a class has no test row, or a label is unknown; before any work.
        RuntimeError
            Before phase 3.
        """
        rows, real, plan = self._expanded()
        if self._before is None:
            raise RuntimeError("evaluate compares heads before and after: call fit_head first")
        evaluation.check_labels(labels_of(test_set, "test_set"), rows.classes)
        return evaluation.evaluate(
            (self._before, self._head),
            rows,
            real,
            plan,
            self._embed(test_set),
            self,
            self.accelerator(),
            self.seconds,
        )

    def predict(self, rows: Pairs) -> NDArray[np.int64]:
        """Give the class number of each row, shape [n], by the network as it is.

        Parameters
        ----------
        rows : Dataset
            Inputs, each a tensor or a dict of tensors, or (input, label) pairs; the labels are not
            used.
        """
        return predict(self.model, Unlabelled(rows), None, *self._loading())[1]

    def predict_logits(self, rows: Pairs) -> NDArray[np.float32]:
        """Give the logits of each row, shape [n, n_classes]; see `predict`."""
        return predict_logits(self.model, Unlabelled(rows), *self._loading())

    # The phases ---------------------------------------------------------------------------------

    def _backbone(self, rows: Split, resume: bool) -> None:
        """Run what is left of phase 1, and keep the checkpoint when it is one of phase 3."""
        self._resumed = None
        if not resume:
            self._journal.require_empty()
        saved = self._restored(rows) if resume else None
        if saved is not None and saved.progress.phase == "head":
            self._resumed = saved
            return
        self._train(backbone_phase(self.model, rows, self), rows, saved, {})

    def _restored(self, rows: Split, phase: str = "*") -> Checkpoint | None:
        """Put the network back as it is in the newest checkpoint of this run, if there is one."""
        saved = self._journal.newest(rows, phase)
        if saved is not None:
            checkpoint.restore(self.model, saved.weights["model"], self.checkpoint_dir)
            self.seconds = dict(saved.progress.seconds)
        return saved

    def _expand(self, rows: Split) -> Plan:
        started = time.perf_counter()
        # Rows may be augmented, and a method of the caller's may draw: the same again on resuming.
        with seeded((self.seed, len(PHASES)), self.accelerator().device):
            self.embeddings = self._embed(rows.plain)
            self.embeddings.require_counts(rows.counts)
            self.embeddings.require_finite()
            self._val = None if rows.val is None else self._embed(rows.val)
            self.plan = make_plan(self.embeddings.x, self.embeddings.y, self)
        self._rows = rows
        self.seconds["expand"] = time.perf_counter() - started
        return self.plan

    def _train_head(self) -> None:
        rows, real, plan = self._expanded()
        # Used once: after it the head is no longer that of the checkpoint.
        saved, self._resumed = self._resumed, None
        if saved is None:
            self._journal.require_empty("head")
        self._before = copy.deepcopy(self._head)
        if saved is not None:
            checkpoint.restore(self._before, saved.weights["before"], self.checkpoint_dir)
        elif self.reinit_head:
            with seeded((self.seed,), self.accelerator().device):
                reinitialise(self._head)
        val = None if self._val is None else self._val.rows()
        phase = head_phase(self._head, real, plan, val, self)
        self._train(phase, rows, saved, {"before": checkpoint.snapshot(self._before)})

    def _train(
        self, phase: Phase, rows: Split, saved: Checkpoint | None, extra: dict[str, Weights]
    ) -> None:
        settings = self._journal.run(rows)
        state = State(Progress(phase.name, seconds=self.seconds, settings=settings))
        if saved is not None:
            state = State(saved.progress, saved.weights.get("best"), saved.optimizer)
            state.progress.seconds, state.progress.settings = self.seconds, settings

        def finish_epoch(record: Record) -> None:
            self._journal.enter(self.model, state, extra, record)

        train(phase, self, state, finish_epoch)

    def _embed(self, rows: Pairs) -> Embeddings:
        return embed(self.model, self.head, rows, *self._loading())

    def _loading(self) -> tuple[Accelerator, int, int, Collate | None]:
        """Say how rows are passed through the network."""
        return self.accelerator(), self.batch_size, self.num_workers, self.collate_fn

    def _expanded(self) -> tuple[Split, Embeddings, Plan]:
        if self._rows is None or self.embeddings is None or self.plan is None:
            raise RuntimeError("there are no embeddings and no plan yet: call fit or expand first")
        return self._rows, self.embeddings, self.plan

    def _split(
        self,
        train_set: Pairs,
        val_set: Pairs | None,
        embed_set: Pairs | None,
        name: str = "train_set",
    ) -> Split:
        rows = split(train_set, val_set, embed_set, self.val_fraction, self.seed, name)
        check(self, self.model, self.head, rows)
        return rows
