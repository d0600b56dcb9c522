"""What the words of a status column say: died or censored. A word says what it says; 0 and 1 need the column's key.

`died` in a column of censoring still means that the patient died. 0, 1, true and yes say no more than "what the column
is called for": 1 is a death in a column of events and a censored time in a column of censoring.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...errors import DataError
from ...names import check_choice

_DIED = """
    dead died death deceased expired event progression progressed recurred relapsed relapse recurrence
    recurred/progressed relapsed/progressed recurred/progression dead-with-tumor dead-with-disease
    died-of-disease dead-of-disease died-of-other-causes dead-of-other-causes died-of-other-disease dod doc d-d.s.
    d-o.c. verstorben tot gestorben fallecido fallecida muerto muerta décédé décédée decede decedee mort morte deceduto
    deceduta morto morta óbito obito falecido falecida overleden död avliden exitus éxitus exitus-letalis dcd
    öldü ölü vefat vefat-etti 死亡 已故
"""
_CENSORED = """
    alive living censored alive-with-disease alive-with-tumor alive-without-disease ned awd no-event no-death event-free
    disease-free diseasefree progression-free not-progressed not-recurred lost-to-follow-up lost-to-followup ltfu
    a-alive lebend lebt am-leben zensiert vivo viva vivant vivante en-vie censuré vivente levend in-leven lever
    sağ hayatta yaşıyor 存活 生存 删失
"""  # noqa: RUF001
_YES = "1 true t yes y ja si sí oui"
_NO = "0 false f no n nein non nee"
_MISSING = """
    unknown not-known not-available not-reported not-applicable n.a. missing ? unbekannt inconnu desconocido
    - – — . #n/a #nv #null! k.a. n.d.
"""  # noqa: RUF001
_OTHER_CAUSES = frozenset(["died-of-other-causes", "dead-of-other-causes", "died-of-other-disease", "doc", "d-o.c."])


def _form(word: str) -> str:
    plain = unicodedata.normalize("NFC", word.strip()).lower()
    plain = plain.replace("i\u0307", "i").replace("\u0131", "i")  # Turkish has two letters i
    return re.sub(r"[\s_]+", "-", plain)


def _set(text: str) -> frozenset[str]:
    return frozenset(map(_form, text.split()))


DIED, CENSORED, YES, NO, MISSING = map(_set, (_DIED, _CENSORED, _YES, _NO, _MISSING))


@dataclass(frozen=True)
class StatusWords:
    """Words that the user names: those that mean died, and those that mean censored.

    Where only one side is named, all other words mean the other.
    """

    died: frozenset[str] = field(default_factory=frozenset)
    censored: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, died: Iterable[str], censored: Iterable[str]) -> "StatusWords":
        """From lists of words. DataError where a word is on both sides."""
        words = cls(frozenset(map(_form, died)), frozenset(map(_form, censored)))
        if both := words.died & words.censored:
            raise DataError(f"status words: {', '.join(sorted(both))} cannot mean both died and censored.")
        return words

    def says(self, word: str) -> bool | None:
        """True where the word means died, False for censored, None where nothing is named for it."""
        form = _form(word)
        if form in self.died:
            return True
        if form in self.censored:
            return False
        if self.died and not self.censored:
            return False
        return True if self.censored and not self.died else None

    def unused(self, cells: Iterable[str]) -> list[str]:
        """The words that no cell says: slips of the pen, perhaps."""
        return sorted((self.died | self.censored) - set(map(_form, cells)))

    @property
    def has_numbers(self) -> bool:
        """Whether codes are named (1 alive, 2 dead), so that numbers do not mean what they usually do."""
        return any(word.isdigit() for word in self.died | self.censored)

    def __bool__(self) -> bool:
        """Whether any word is named."""
        return bool(self.died or self.censored)


def parse_status_words(text: str | None) -> StatusWords:
    """`died=tot|verstorben` or `censored=lebt,died=tot` as StatusWords. DataError for anything else."""
    if text is None:
        return StatusWords()
    found: dict[str, frozenset[str]] = {}
    for part in text.split(","):
        key, equals, words = (piece.strip() for piece in part.partition("="))
        named = frozenset(_form(word) for word in words.split("|") if word.strip())
        if not equals or not named:
            raise DataError(
                f"--status-words: {part.strip()!r} is not of the form died=word|word or censored=word|word."
            )
        check_choice("side of --status-words", key, ("died", "censored"), DataError)
        if key in found:
            raise DataError(f"--status-words: {key} is given twice; divide its words by |.")
        found[key] = named
    return StatusWords.of(found.get("died", ()), found.get("censored", ()))


class Contradiction(ValueError):
    """A cell whose number says one thing and whose word says another."""


def read_status(text: str, died: bool | None, endpoint: str, named: StatusWords, letters: bool) -> bool | None:
    """Whether a cell says that the patient died; None where it cannot be understood.

    `died` is what 1 means by the column's key (None: not known). `letters`: the column holds d and a alone, for dead
    and alive. A number before a colon (cBioPortal's 1:DECEASED) says whether the event happened, and decides. Raises
    Contradiction where the word after it says the opposite; of other endpoints than overall survival, who died may
    have had no event.
    """
    if named and (named.has_numbers or not _number(text)):
        said = named.says(text)
        if said is not None:
            return said
    form = _form(text)
    before, colon, word = form.partition(":")
    if colon and before in ("0", "1"):
        meant = _word(word.strip("-"), endpoint, letters)
        if endpoint == "os" and meant is not None and meant != (before == "1"):
            raise Contradiction(text)
        return before == "1"
    if _number(text):
        form = form.replace(",", ".").partition(".")[0] or "0"  # SPSS writes 0 as ,00
    if form in YES | NO:
        return None if died is None else died == (form in YES)
    return _word(form, endpoint, letters)


def is_missing(text: str) -> bool:
    """Whether a cell says that the status, or the time, is not known."""
    return _form(text) in MISSING


def only_letters(cells: Mapping[str, object] | set[str]) -> bool:
    """Whether these words are a for alive, and d for dead alone or with its cause (METABRIC)."""
    forms = {_form(cell) for cell in cells}
    return "a" in forms and len(forms) > 1 and forms <= {"a", "d", "d-d.s.", "d-o.c."}


def _number(text: str) -> bool:
    return re.fullmatch(r"[01](?:[.,]0+)?|[.,]0+", text.strip(), re.ASCII) is not None


def _word(form: str, endpoint: str, letters: bool) -> bool | None:
    if letters and form in ("d", "a"):
        return form == "d"
    if form in _OTHER_CAUSES and endpoint == "dss":
        return False
    return True if form in DIED else False if form in CENSORED else None
