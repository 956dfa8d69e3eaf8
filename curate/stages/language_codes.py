"""From the labels of language models to one code per language: ISO 639-1 where there is one, else 639-3."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

#: ISO 639-3 → ISO 639-1, all 184 pairs of the standard (``sh`` is deprecated there and still in use)
_TWO_LETTERS = """
    aar:aa abk:ab afr:af aka:ak amh:am ara:ar arg:an asm:as ava:av ave:ae aym:ay aze:az bak:ba bam:bm bel:be ben:bn
    bis:bi bod:bo bos:bs bre:br bul:bg cat:ca ces:cs cha:ch che:ce chu:cu chv:cv cor:kw cos:co cre:cr cym:cy dan:da
    deu:de div:dv dzo:dz ell:el eng:en epo:eo est:et eus:eu ewe:ee fao:fo fas:fa fij:fj fin:fi fra:fr fry:fy ful:ff
    gla:gd gle:ga glg:gl glv:gv grn:gn guj:gu hat:ht hau:ha hbs:sh heb:he her:hz hin:hi hmo:ho hrv:hr hun:hu hye:hy
    ibo:ig ido:io iii:ii iku:iu ile:ie ina:ia ind:id ipk:ik isl:is ita:it jav:jv jpn:ja kal:kl kan:kn kas:ks kat:ka
    kau:kr kaz:kk khm:km kik:ki kin:rw kir:ky kom:kv kon:kg kor:ko kua:kj kur:ku lao:lo lat:la lav:lv lim:li lin:ln
    lit:lt ltz:lb lub:lu lug:lg mah:mh mal:ml mar:mr mkd:mk mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nau:na nav:nv
    nbl:nr nde:nd ndo:ng nep:ne nld:nl nno:nn nob:nb nor:no nya:ny oci:oc oji:oj ori:or orm:om oss:os pan:pa pli:pi
    pol:pl por:pt pus:ps que:qu roh:rm ron:ro run:rn rus:ru sag:sg san:sa sin:si slk:sk slv:sl sme:se smo:sm sna:sn
    snd:sd som:so sot:st spa:es sqi:sq srd:sc srp:sr ssw:ss sun:su swa:sw swe:sv tah:ty tam:ta tat:tt tel:te tgk:tg
    tgl:tl tha:th tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw uig:ug ukr:uk urd:ur uzb:uz ven:ve vie:vi vol:vo
    wln:wa wol:wo xho:xh yid:yi yor:yo zha:za zho:zh zul:zu
"""

#: ISO 639-3 codes of single languages that models use where the two-letter code stands for the group or for the
#: common form: Mandarin for Chinese, Standard Arabic for Arabic …
_MEMBERS = """
    arb:ar ayr:ay azj:az cmn:zh dgo:doi ekk:et fuv:ff gaz:om gug:gn khk:mn kmr:ku knn:kok kpv:kv lvs:lv npi:ne ory:or
    pbt:ps pes:fa plt:mg quy:qu spv:or swh:sw twi:tw uzn:uz ydd:yi zsm:ms
"""

#: labels of lid.176 (names of Wikipedias) that mean something else in ISO 639
_WIKIPEDIA = {"als": "gsw", "bh": "bho"}

#: labels of models that name the script too, where ISO 639-3 says another language than the bare label
_WITH_SCRIPT = {"als": "sq"}

_LABEL = re.compile(r"(?:__label__)?([A-Za-z]{2,3})(?:[_-]([A-Z][a-z]{3}))?(?:[_-].*)?")


class LanguageCode(NamedTuple):
    """A language and, where the label names one, its script (ISO 15924)."""

    code: str
    script: str | None

    def __str__(self) -> str:
        return f"{self.code}-{self.script}" if self.script else self.code


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    return dict(pair.split(":") for pair in (_TWO_LETTERS + _MEMBERS).split())


@lru_cache(maxsize=8192)
def language_code(label: str) -> LanguageCode:
    """The code of a model's label: ``__label__eng_Latn`` → (en, Latn), ``__label__als`` of lid.176 → (gsw, None).

    What does not look like a language is returned in lower case as it is, without ``__label__``.
    """
    match = _LABEL.fullmatch(label)
    if match is None:
        return LanguageCode(label.removeprefix("__label__").lower(), None)
    code, script = match[1].lower(), match[2]
    special = _WITH_SCRIPT if script else _WIKIPEDIA
    return LanguageCode(special.get(code) or _table().get(code, code), script)
