r"""Texts of answers in one spelling, before anything is read: `５½` is `5 1/2`, `\dfrac` is `\frac`.

Unicode's signs become ASCII and LaTeX's synonyms one command; dress (dollar signs, `\text`, `\left`, Markdown) goes;
thousands marks go; repeating decimals are `0.8(3)`. Nothing is judged here.
"""

from __future__ import annotations

import re
import unicodedata

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("−–‒﹣－‐‑", "-"),
        **dict.fromkeys("×⋅·∙∗", "*"),
        **dict.fromkeys("÷∕", "/"),
        **dict.fromkeys("’‘′", "'"),
        **dict.fromkeys("“”", '"'),
        **{"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∈": r"\in ", "±": r"\pm "},
        **{"√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "∅": r"\emptyset ", "ℝ": r"\R ", "°": " degrees "},
        **{"€": " euros ", "£": " pounds ", "¥": " yen ", "¢": " cents ", "—": " ; ", "℃": " celsius "},
        **{"θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "₹": " rupees "},
    }
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SAME = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), r"\frac"),
    **dict.fromkeys(("dbinom", "tbinom"), r"\binom"),
    **dict.fromkeys(("leq", "leqslant"), r"\le "),
    **dict.fromkeys(("geq", "geqslant"), r"\ge "),
    **dict.fromkeys(("times", "cdot", "ast"), "*"),
    **dict.fromkeys(("dots", "ldots", "cdots", "dotsc"), "..."),
    **dict.fromkeys(("left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "displaystyle", "limits"), ""),
    **dict.fromkeys(("quad", "qquad", "newline", "rm", "bf"), " "),
    **{"div": "/", "neq": r"\ne ", "lt": "<", "gt": ">", "land": " and ", "lor": " or ", "degree": " degrees "},
    **{"varnothing": r"\emptyset ", "sim": r"\approx ", "simeq": r"\approx ", "mid": "|", "vert": "|"},
    **{"lvert": "|", "rvert": "|", "lbrace": r"\{", "rbrace": r"\}", "euro": " euros ", "pounds": " pounds "},
    **{"lfloor": r"\floor(", "rfloor": ")", "lceil": r"\ceil(", "rceil": ")"},
}
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_INNER = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|bf|it|sf|tt|cal|normal)|mbox|hbox|operatorname\*?|boxed|fbox|emph"
    r"|underline|boldsymbol|bm|vec|SI|phantom)\s*" + _INNER
)
_ROOT = re.compile(r"(?:√|(?<![\\a-zA-Z])sqrt)\s*(\d+(?:\.\d+)?)")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))")
_MATH = re.compile(r"\$\$?(?=\S|\s)((?:[^$\\]|\\.)*)\$\$?")
_COMMAS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,]|\.\d*,)")
_GAPS = re.compile(r"(?<![\d.,] )(?<![\d.,])\d{1,3}(?:(?: \d{3})+|(?:'\d{3})+)(?![\d'/]| \d)")
_CONTINENTAL = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3})+(?:,\d{1,2})?(?![\d.,])")
_OVERLINE = re.compile(r"(?<!\d)(\d*\.\d*)\\(?:overline|dot|bar|overbar)\s*(?:\{(\d+)\}|(\d))")
_ENDLESS = re.compile(r"(?<!\d)(\d*\.\d*?)(\d{1,9}?)(\2+)\s*\.\.\.+")
_MOST = 4


def one_spelling(text: str) -> str:
    r"""The text with one sign for one meaning.

    >>> one_spelling(r"\text{about } −1{,}234.5\text{ cm}²"), one_spelling(r"$0.8\overline{3}$")
    ('about -1234.5 cm ^{2}', '0.8(3)')
    """
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda found: f"^{{{found.group().translate(_RAISED)}}}", text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = re.sub("[₀-₉]+", lambda found: f"_{{{found.group().translate(_LOWERED)}}}", text).translate(_SIGNS)
    text = "".join(f" {c}" if unicodedata.decomposition(c).startswith("<fraction>") else c for c in text)
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/").translate(_SIGNS)
    text = text.replace("{,}", ",").replace(r"\!", "").replace(r"\mathbb{R}", r"\R ")
    text = re.sub(r"\\(?:text)?color\s*\{[^{}]*\}", "", text.replace(r"\langle", "(").replace(r"\rangle", ")"))
    text = re.sub(r"\\\\(?:\[[^\]]*\])?", r"\\row ", text)
    text = re.sub(r"\\[,;: ~]|~|\^\{\s*\}|\\row\s*$", " ", text)
    text = _DEGREES.sub(" degrees ", text)
    for _ in range(_MOST):
        text = _TEXT.sub(r" \1 ", text)
    text = re.sub(r"\\[()\[\]]", " ", _COMMAND.sub(_one_command, text))
    text = _undressed(text)
    text = _OVERLINE.sub(lambda found: f"{found.group(1)}({found.group(2) or found.group(3)})", text)
    text = _ENDLESS.sub(r"\1(\2)", text)
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", " ".join(text.split()))
    text = re.sub(r"(?<=\d)-(?=[a-z]{3})(?!-sin|-cos|-tan|-log|-sqrt|-exp)", " ", text)
    text = re.sub(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)|(?<=\d) x (?=\d)", "*", text)
    text = re.sub(r"(?<=\w)(?<!half)(?<!and)\s+an?\s+(?=[a-z]{2})", " per ", text)
    return _without_thousands_marks(text)


def _one_command(found: re.Match[str]) -> str:
    return _SAME.get(found.group(1), found.group())


def _undressed(text: str) -> str:
    """Without Markdown and dollar signs around mathematics; a dollar sign that is money becomes a word."""
    text = text.replace(r"\$", " dollars ")
    text = _MATH.sub(r" \1 ", text).replace("$", " dollars ")
    text = re.sub(r"(?<=[\w)])\*\*(?=[\w(-])", "^", text)
    text = re.sub(r"\*\*|__|`", "", text).replace(r"\%", "%").replace(r"\#", "#").replace(r"\&", "&")
    return text.replace(r"\_", "_").strip().strip("*_").strip()


def _without_thousands_marks(text: str) -> str:
    """1,234 and 1 234 and 1'234 outside of brackets are 1234; inside them a comma parts two numbers."""
    if _CONTINENTAL.fullmatch(text) and (text.count(".") > 1 or "," in text):
        return text.replace(".", "").replace(",", ".")
    parts = re.split(r"([(\[{][^()\[\]{}]*[)\]}])", text)
    for i in range(0, len(parts), 2):
        part = _COMMAS.sub(lambda found: found.group().replace(",", ""), parts[i])
        parts[i] = _GAPS.sub(lambda found: re.sub("[ ']", "", found.group()), part)
    return "".join(parts)
