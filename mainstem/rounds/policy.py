"""What a head's rules say, made ready to ask: mode, strategy, selection and what is exchanged, together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mainstem.aggregation import strategies
from mainstem.aggregation.strategies import Claim
from mainstem.errors import ConfigError, RefusedError
from mainstem.jobs.compiling import rate_of, steps_of, way_of
from mainstem.protocol import encodings
from mainstem.protocol.chain import Head
from mainstem.protocol.encodings import RAW
from mainstem.protocol.exchange import LOOSE, RESIDUAL, SERVER, UP, Exchange, exchange, like_trained
from mainstem.protocol.messages import Accepted, Group, Reason, Rules, StrategyChoice, Training, Update
from mainstem.rounds import modes, selection

LARGEST_LOSS = 1e6
"""That an update may claim where it is weighed by it."""

TRAINING = Training()


@dataclass(frozen=True, slots=True)
class Policy:
    """One head's policy. `chooser` is None where a round asks everyone."""

    mode: modes.Mode
    strategy: strategies.Strategy
    chooser: selection.Chooser | None
    exchange: Exchange

    @staticmethod
    def of(head: Head) -> Policy:
        """The policy under `head`; raises ConfigError for what is not known here."""
        strategy, specs = strategies.make(head.opened.strategy.name, head.opened.strategy.params), exchange(head.opened)
        if specs.groups != groups(strategy, head.opened.rules, specs):
            raise ConfigError(f"groups are not those that strategy {head.opened.strategy.name} exchanges here")
        check_sparse(strategy, specs.adapt)
        check_growth(strategy, specs.forest is not None)
        return Policy(modes.make(head.rules), strategy, selection.make(head.rules.selection), specs)

    @property
    def quorum(self) -> int:
        """How many updates a round needs where neither the rules nor a selection say it."""
        return max(self.mode.quorum, self.strategy.least)

    def claims(self, head: Head, accepted: Sequence[Accepted]) -> list[Claim]:
        """What these updates bring into a round of `head`; raises RefusedError where one does not count."""
        training, weighs = head.opened.training, self.strategy.weighs
        rate = rate_of(training, head.round + 1, head.opened.rules.rounds) if weighs.by_loss else None
        return [
            Claim(
                item.client,
                item.examples,
                self.mode.discount(self.mode.admit(head, item.base)),
                way_of(training, item.steps) if weighs.by_steps else 0.0,
                item.loss,
                rate,
            )
            for item in accepted
        ]

    def check_claim(self, head: Head, update: Update) -> None:
        """Refuse what an update says of its training that cannot be, as far as its strategy goes by it.

        Raises RefusedError.
        """
        training, weighs = head.opened.training, self.strategy.weighs
        most = steps_of(update.examples, training.batch_size, training.epochs)
        if weighs.by_steps and not 1 <= update.steps <= most:
            said = f"it claims {update.steps} steps, and {update.examples} examples make 1 to {most} in a round"
            raise RefusedError(Reason.EXAMPLES, said)
        if weighs.by_loss and (update.loss is None or not 0 <= update.loss <= LARGEST_LOSS):
            said = f"it claims the loss {update.loss}, by which it is weighed: a number from 0 to {LARGEST_LOSS:g}"
            raise RefusedError(Reason.EXAMPLES, said)


def check_sparse(strategy: strategies.Strategy, adapt: str) -> None:
    """Refuse a strategy that needs every update whole where sites may send less; ConfigError begins with the field."""
    if adapt not in LOOSE:
        return
    if not strategy.folds.sparse:
        raise ConfigError(f"adapt must not be {adapt}: fold {strategy.folds.name} needs every update whole")
    if any(group.direction == UP for group in strategy.groups(Exchange(()))):
        raise ConfigError(f"adapt must not be {adapt}: by this strategy an update carries more than the model")
    if strategy.measured:
        raise ConfigError(f"adapt must not be {adapt}: this strategy measures whole changes")


def check_growth(strategy: strategies.Strategy, forest: bool) -> None:
    """Refuse a strategy that does not go with the model: forests grow, networks do not; ConfigError begins with the
    field."""
    if forest and not strategy.folds.grows:
        raise ConfigError(
            f"strategy.name must be bagging, or fold concatenate: the model is a forest, and {strategy.folds.name} "
            "makes no trees"
        )
    if strategy.folds.grows and not forest:
        raise ConfigError(
            "strategy.name must not be bagging, nor fold concatenate: only a model of kind forest grows by trees"
        )


def groups(strategy: strategies.Strategy, rules: Rules, model: Exchange) -> tuple[Group, ...]:
    """What a run exchanges beside a model of these specs: for its strategy, and what encoded versions leave over."""
    left_over = () if rules.encoding_down.name == RAW else (like_trained(model, RESIDUAL, SERVER),)
    return (*strategy.groups(model), *left_over)


def keyframe_due(head: Head) -> bool:
    """Whether the head's next version is published whole, beside the change that it travels as: every so many, and
    the last one."""
    rules = head.opened.rules
    return (head.version + 1) % rules.keyframe_every == 0 or head.round + 1 >= head.rules.rounds


def check(
    strategy: StrategyChoice,
    rules: Rules,
    training: Training = TRAINING,
    adapt: str = "strict",
    forest: bool = False,
) -> None:
    """Refuse a strategy that is not known, or does not go with the rules, with how clients train, with how sites may
    differ, or with the kind of model. ConfigError begins with the field."""
    chosen = strategies.make(strategy.name, strategy.params)
    check_growth(chosen, forest)
    if forest and adapt != "strict":
        raise ConfigError(f"adapt must be strict: a forest is exchanged whole, adapt {adapt} takes models apart")
    check_sparse(chosen, adapt)
    if adapt in LOOSE and rules.encoding_up.name != RAW:
        raise ConfigError(f"encoding_up.name must be {RAW} where adapt is {adapt}: an encoding takes whole changes")
    if refusal := chosen.refusal(rules) or chosen.misfit(training):
        raise ConfigError(refusal)
    for field, choice in (("encoding_up", rules.encoding_up), ("encoding_down", rules.encoding_down)):
        encoding = encodings.make(choice, field)
        if field == "encoding_down" and encoding is not None and not encoding.down:
            raise ConfigError(f"encoding_down.name must not be {choice.name}: it is for updates alone")
    needed, mode = chosen.least, modes.make(rules)
    quorum = mode.quorum if rules.quorum is None else rules.quorum
    if quorum < needed:
        field = "quorum" if rules.quorum is not None else "min_clients" if rules.target is None else "target"
        said = f"strategy {strategy.name} needs {needed} updates a round, and this says {quorum}"
        raise ConfigError(f"{field} must be at least {needed}: {said}")
