"""How the corpora of the English-French translator are made from their origins, mended, and added to."""

import hashlib
import pathlib
import random
import re
import subprocess

import pytest
from helpers import load_script

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "saved_models" / "translation_en_fr"

EUROPARL = """<?xml version="1.0" encoding="UTF-8"?>
<DOCUMENT>
  <ParallelChunk annotation_id="0" docOffset="0">
    <en>Resumption of the session</en>
    <fr>Reprise de la session</fr>
  </ParallelChunk>
<Speaker annotation_id="26" id="1" name="President">
    <ParallelChunk annotation_id="26" docOffset="1">
      <en>
        <DiscourseConnective annotation_id="1">However</DiscourseConnective>, vows &amp; peace <Alignment alignment="9">
          <Alignment alignment="9">
            <DiscourseConnective annotation_id="2" sense="Contingency.Condition">as long as</DiscourseConnective>
          </Alignment>
        </Alignment> it lasts.</en>
      <fr>Nos vux <DiscourseConnective annotation_id="3">et</DiscourseConnective> paix: vux <Alignment alignment="2">
          <DiscourseConnective annotation_id="9">pour autant qu'</DiscourseConnective>
        </Alignment>elle dure.</fr>
    </ParallelChunk>
</Speaker>
</DOCUMENT>
"""

PYTHON_DOCS = r"""msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"

#: library/shutil.rst:2
msgid ":mod:`shutil` --- High-level file operations"
msgstr ":mod:`shutil` --- Opérations de haut niveau sur les fichiers"

msgid ""
"Call ``f(*args, **kw)`` with *args*, see :func:`~shutil.copy2`, :meth:`!run` and the :ref:`tutorial <tut-"
"io>` or `PEP 8 <https://peps.python.org>`_ **now** [#]_. For example::"
msgstr ""
"Appelle ``f(*args, **kw)`` avec *args*, voir :func:`~shutil.copy2`, :meth:`!run` et le :ref:`tutoriel <tut-"
"io>` ou la `PEP 8 <https://peps.python.org>`_ **vite** [#]_. Par exemple ::"

msgid "The ``_`` of l\\ *xxx* and PEP_ and ``name_`` and _own_."
msgstr "Le ``_`` de l\\ *xxx* et PEP_ et ``name_`` et _own_."

msgid "This one is untranslated."
msgstr ""

#, fuzzy
msgid "This one is fuzzy."
msgstr "Celui-ci est flou."

#~ msgid "This one is obsolete."
#~ msgstr "Celui-ci est obsolète."
"""

LAW_ENGLISH = """<?xml version="1.0" encoding="utf-8"?><Statute xmlns:lims="http://justice.gc.ca/lims" lims:id="1">
<Identification><LongTitle>An Act about trains</LongTitle>
<Chapter><ConsolidatedNumber>T-1</ConsolidatedNumber></Chapter>
</Identification><Body><Heading level="1"><TitleText>Short Title</TitleText></Heading>
<Section lims:id="2"><MarginalNote>Short title<HistoricalNote>1999, c. 1</HistoricalNote></MarginalNote>
<Label>1</Label>
<Text>This Act may be cited as the <XRefExternal>Trains Act</XRefExternal>.</Text></Section>
<Heading level="1"><TitleText>Only in English</TitleText></Heading>
<Heading level="1"><TitleText>Interpretation of Terms</TitleText></Heading>
<Section><Label>2</Label><Text>The following definitions apply.</Text>
<Definition><Text><DefinedTermEn>Minister</DefinedTermEn>
means the Minister. (<DefinedTermFr>ministre</DefinedTermFr>)</Text></Definition>
<Definition><Text><DefinedTermEn>train</DefinedTermEn> includes a tram. (<DefinedTermFr>convoi</DefinedTermFr>)</Text>
</Definition></Section>
<Section><Label>3 to 5</Label><Subsection><Label>(1)</Label>
<Text>Every train stops.<FootnoteRef>a</FootnoteRef></Text></Subsection>
<Subsection><Label>(1.1)</Label><Text>Added in English alone.</Text></Subsection>
<Subsection><Label>(2)</Label><Text>Nobody jumps off<LineBreak/>a train.</Text>
<Paragraph><Label>(a)</Label><Text>Part of a sentence.</Text></Paragraph></Subsection></Section></Body></Statute>"""

LAW_FRENCH = """<?xml version="1.0" encoding="utf-8"?><Statute xmlns:lims="http://justice.gc.ca/lims" lims:id="1">
<Identification><LongTitle>Loi sur les trains</LongTitle>
<Chapter><ConsolidatedNumber>T-1</ConsolidatedNumber></Chapter>
</Identification><Body><Heading level="1"><TitleText>Titre abrégé</TitleText></Heading>
<Section lims:id="2"><MarginalNote>Titre abrégé<HistoricalNote>1999, ch. 1</HistoricalNote></MarginalNote>
<Label>1</Label>
<Text><XRefExternal>Loi sur les trains</XRefExternal>.</Text></Section>
<Heading level="1"><TitleText>Définitions</TitleText></Heading>
<Section><Label>2</Label><Text>Les définitions qui suivent s’appliquent.</Text>
<Definition><Text><DefinedTermFr>convoi</DefinedTermFr>
Y est assimilé un tram. (<DefinedTermEn>train</DefinedTermEn>)</Text></Definition>
<Definition><Text><DefinedTermFr>ministre</DefinedTermFr> Le ministre. (<DefinedTermEn>Minister</DefinedTermEn>)</Text>
</Definition></Section>
<Section><Label>3 à 5</Label><Subsection><Label>(1)</Label><Text>Chaque train s’arrête.</Text></Subsection>
<Subsection><Label>(2)</Label><Text>Nul ne saute du train.</Text>
<Paragraph><Label>a)</Label><Text>Partie d’une phrase.</Text></Paragraph></Subsection></Section></Body></Statute>"""


@pytest.fixture(scope="module")
def modules():
    """Those of a folder that is on the path when its scripts run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield {name: load_script(FOLDER / f"{name}.py") for name in ("data", "cleaning", "kinds")}


@pytest.fixture
def data(modules):
    return modules["data"]


@pytest.fixture
def cleaning(modules):
    return modules["cleaning"]


@pytest.fixture
def kinds(modules):
    return modules["kinds"]


# === Origins ===


def test_europarl_without_its_annotation(data):
    assert list(data.europarl_pairs(EUROPARL.encode())) == [
        ("Resumption of the session", "Reprise de la session"),
        (
            "However, vows & peace as long as it lasts.",
            "Nos vœux et paix : vœux pour autant qu'elle dure.",
        ),
    ]


def test_documentation_without_marks(data):
    pytest.importorskip("polib", reason="needs the packages of the extra train")
    assert list(data.python_docs_pairs(PYTHON_DOCS.encode())) == [
        ("shutil --- High-level file operations", "shutil --- Opérations de haut niveau sur les fichiers"),
        (
            "Call f(*args, **kw) with args, see shutil.copy2, run and the tutorial or PEP 8 now. For example:",
            "Appelle f(*args, **kw) avec args, voir shutil.copy2, run et le tutoriel ou la PEP 8 vite. Par exemple :",
        ),
        ("The _ of lxxx and PEP and name_ and _own_.", "Le _ de lxxx et PEP et name_ et _own_."),
    ]


def test_laws_are_aligned_by_labels_and_terms(data):
    assert list(data.canada_laws_pairs(LAW_ENGLISH.encode(), LAW_FRENCH.encode())) == [
        ("An Act about trains", "Loi sur les trains"),
        ("Short Title", "Titre abrégé"),
        ("Short title", "Titre abrégé"),
        ("This Act may be cited as the Trains Act.", "Loi sur les trains."),
        # Of two headings in English and one in French, nobody knows which is the one.
        ("The following definitions apply.", "Les définitions qui suivent s’appliquent."),
        ("Minister means the Minister. (ministre)", "ministre Le ministre. (Minister)"),
        ("train includes a tram. (convoi)", "convoi Y est assimilé un tram. (train)"),
        ("Every train stops.", "Chaque train s’arrête."),
        ("Nobody jumps off a train.", "Nul ne saute du train."),
    ]


def test_what_is_selected(data):
    corpus = data.Corpus("", "", None, words=(2, 4), ratios=(0.5, 2))
    pairs = [
        ("Yes.", "Oui."), ("One two three four five.", "Un deux trois quatre cinq."), ("Come in.", "Entrez."),
        ("Come in.", "Entre."), ("Come here.", "Venez donc ici, je vous prie."), ("Not again!", "Encore !"),
        ("Held out, all.", "Mis de côté, tout."), ("No French.", ""),
    ]  # fmt: skip
    assert data.selected(pairs, corpus, {"held out all"}) == {"Come in.": "Entrez.", "Not again!": "Encore !"}


# === From a repository to a file ===


def repository_with(folder, files):
    """A git repository of these files, and the name of its commit."""

    def git(*arguments):
        author = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", "-C", folder, *author, *arguments], check=True, capture_output=True, text=True)

    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "Add files")
    return git("rev-parse", "HEAD").stdout.strip()


@pytest.fixture
def laws(data, tmp_path, monkeypatch):
    """A repository of three laws, of which one is in English alone, in place of all of them."""
    regulation = "<Regulation><Body><Section><Label>1</Label><Text>{}</Text></Section></Body></Regulation>"
    folder = tmp_path / "origin"
    commit = repository_with(folder, {
        "eng/acts/T-1.xml": LAW_ENGLISH, "fra/lois/T-1.xml": LAW_FRENCH, "eng/acts/T-2.xml": LAW_ENGLISH,
        "eng/regulations/C.R.C.,_c._1.xml": regulation.format("Boats float."),
        "fra/reglements/C.R.C.,_ch._1.xml": regulation.format("Les bateaux flottent."),
        "eng/regulations/SOR-99-1.xml": regulation.format("Planes fly high."),
        "fra/reglements/DORS-99-1.xml": regulation.format("Les avions volent haut."),
        "eng/regulations/SI-99-1.xml": regulation.format("A held-out sentence."),
        "fra/reglements/TR-99-1.xml": regulation.format("Une phrase mise de côté."),
    })  # fmt: skip
    corpus = data.CORPORA["canada_laws"]._replace(url=folder.as_uri(), commit=commit)
    monkeypatch.setitem(data.CORPORA, "canada_laws", corpus)
    monkeypatch.setattr(data, "flores", lambda split: ["A held-out sentence!"])
    return folder


def test_a_corpus_is_made_from_a_clone(data, laws, tmp_path, monkeypatch):
    pairs = data.make_corpus("canada_laws", laws)
    assert len(pairs) == 11
    assert {("Boats float.", "Les bateaux flottent."), ("Planes fly high.", "Les avions volent haut.")} < set(pairs)
    assert "A held-out sentence." not in dict(pairs)
    assert pairs == sorted(pairs, key=lambda pair: hashlib.sha256(pair[0].encode()).hexdigest())
    assert data.make_corpus("canada_laws", laws, limit=4) == pairs[:4]
    data.write_pairs(pairs, tmp_path / "mirror" / "canada_laws" / "canada_laws.en-fr.tsv.xz")
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path / "mirror"))
    assert data.load_corpus("canada_laws", repaired=False) == pairs
    repaired = data.load_corpus("canada_laws")
    assert ("The following definitions apply.", "Les définitions qui suivent s'appliquent.") in repaired
    assert not any("means" in english for english, _ in repaired)


def test_a_commit_is_fetched_once(data, laws, tmp_path, capsys):
    corpus = data.CORPORA["canada_laws"]
    clone = data.cloned(corpus, tmp_path / "clone")
    assert "Fetching" in capsys.readouterr().out
    assert data.make_corpus("canada_laws", clone) == data.make_corpus("canada_laws", laws)
    data.cloned(corpus, clone)
    assert "Fetching" not in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="git .* failed"):
        data.Commit(clone, "0" * 40)


def test_files_that_a_clone_lacks_are_told(data, laws, capsys):
    name = "fra/reglements/DORS-99-1.xml"
    (blob,) = subprocess.run(
        ["git", "-C", laws, "rev-parse", f"HEAD:{name}"], check=True, capture_output=True, text=True
    ).stdout.split()
    (laws / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    pairs = data.make_corpus("canada_laws", laws)
    assert len(pairs) == 10 and "Planes fly high." not in dict(pairs)
    assert f"1 files are absent in {laws}: {name}" in capsys.readouterr().out


def test_the_error_without_a_file_has_the_command(data, tmp_path, monkeypatch):
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path / "mirror"))
    monkeypatch.setattr(data, "cache_folders", lambda: [tmp_path / "cache"])
    with pytest.raises(FileNotFoundError, match=r"mirror.*cache.*data\.py --corpus europarl"):
        data.load_corpus("europarl")
    with pytest.raises(ValueError, match="name must be one of"):
        data.load_corpus("news")
    data.write_pairs([("Hello there.", "Bonjour.")], tmp_path / "cache" / "europarl" / "europarl.en-fr.tsv.xz")
    assert data.load_corpus("europarl") == [("Hello there.", "Bonjour.")]


# === Repairs ===


@pytest.mark.parametrize(
    "pair, expected",
    [
        (("It’s “mine” …", "C’est à “moi” …"), ("It's \"mine\" ...", "C'est à « moi » ...")),
        (("A", "qu' il, l' ordre, aujourd' hui, lorsqu' on"), ("A", "Qu'il, l'ordre, aujourd'hui, lorsqu'on")),
        (("The Union' s aims", "Les objectifs de l’ Union"), ("The Union's aims", "Les objectifs de l'Union")),
        (("May I?", "puis -je ? soit- elle, ce cas -ci"), ("May I?", "Puis-je ? soit-elle, ce cas-ci")),
        (("Why not: a; b!", "Pourquoi pas: a; b!"), ("Why not: a; b!", "Pourquoi pas : a ; b !")),
        (("Why\u00a0not?!", "Pourquoi\u202fpas?!"), ("Why not?!", "Pourquoi pas ?!")),
        (("10:30, see http://a.b", "10:30, voir http://a.b"), ("10:30, see http://a.b", "10:30, voir http://a.b")),
        (('{"one": 1} or {x: 1}', '{"one": 1} ou {x: 1}'), ('{"one": 1} or {x: 1}', '{"one": 1} ou {x: 1}')),
        (('He said "no".', 'Il a dit "non".'), ('He said "no".', "Il a dit « non ».")),
        (('Set it to "red".', 'Mettez "red".'), ('Set it to "red".', 'Mettez "red".')),
        (("Says «he»: 8%", "Dit «il»: 8%"), ("Says «he»: 8%", "Dit « il » : 8 %")),
        (("No. 24 works", "Œuvre no 24 mise en oeuvre"), ("No. 24 works", "Œuvre n° 24 mise en œuvre")),
        (("Thanks.", "(DE) Merci."), ("Thanks.", "Merci.")),
        (("rapporteur. - (DE) Yes.", ". - Oui."), ("Yes.", "Oui.")),
        (("One thing.", "une chose ;"), ("One thing.", "Une chose.")),
        (("One thing.", "une chose"), ("One thing.", "Une chose.")),
        (("One thing", "Une chose."), ("One thing", "Une chose")),
        (("Is it windll", "windll en est"), ("Is it windll", "windll en est")),
        (("os --- Files -- all", "os — Fichiers -- tous"), ("os — Files – all", "os — Fichiers – tous")),
        (("Say so. :", "Dites-le. :"), ("Say so.", "Dites-le.")),
    ],
)  # fmt: skip
def test_repairs(cleaning, pair, expected):
    assert cleaning.clean(pair) == expected
    assert cleaning.clean(expected) == expected


@pytest.mark.parametrize(
    "lost, found",
    [
        ("mettre en uvre, manuvres", "mettre en œuvre, manœuvres"), ("uvrer ensemble", "Œuvrer ensemble"),
        ("au cur de nos vux", "au cœur de nos vœux"), ("le coup d'il, à l'il nu", "le coup d'œil, à l'œil nu"),
        ("du buf et des ufs", "du bœuf et des œufs"), ("un vu pieux, vos surs", "un vœu pieux, vos sœurs"),
        ("il a vu les murs sur la rue", "il a vu les murs sur la rue"), ("d'il y a dix ans", "d'il y a dix ans"),
        ("ouvrez et découvrez l'écurie", "ouvrez et découvrez l'écurie"), ("écurant, rancur", "écœurant, rancœur"),
        ("mise en ?uvre, c?ur, à l'?il nu. Quoi ?", "mise en œuvre, cœur, à l'œil nu. Quoi ?"),
    ],
)  # fmt: skip
def test_lost_ligatures(cleaning, lost, found):
    assert cleaning.with_ligatures(lost) == found


@pytest.mark.parametrize(
    "pair, sign",
    [
        (("It cost 1,234.5 in 2004.", "Cela coûtait 1 234,5 en 2004."), None),
        (("In 24 hours", "En 48 heures"), "other numbers"),
        (("Damage", "Les dommages que le présent règlement a causés"), "another length"),
        (("THE RULES OF PROCEDURE", "Le règlement de procédure"), "capitals on one side"),
        (("NATO and UNO", "OTAN et ONU"), None),
        (("The end of the road", "The end of the road"), "a side in the other language"),
        (("Le bout de la route", "Le bout de la route"), "a side in the other language"),
        (("Toyota Corolla", "Toyota Corolla"), None),
        (("boat means a ship. (bateau)", "ministre Le ministre. (Minister)"), "a definition"),
        (("SOR/99-1, s. 2", "DORS/99-1, art. 2"), "a citation"),
        (("Board[Repealed, 1999, c. 2]", "Office[Abrogé, 1999, ch. 2]"), "a citation"),
        (("", "Rien"), "an empty side"),
    ],
)
def test_signs_of_a_mismatch(cleaning, pair, sign):
    assert cleaning.mismatch(pair) == sign
    assert cleaning.is_aligned(pair) == (sign is None)


# === What is held out ===


def test_overlaps(data):
    pairs = [("HELLO, world", "Bonjour"), ("Good night.", "Bonne nuit."), ("Goodbye", "Au revoir"), ("?", "!")]
    sets = {"first": ["Hello  world!", "..."], "second": ["goodbye.", "hello world", "Never."], "third": ["Nothing."]}
    assert data.overlaps(pairs, sets) == {"first": 1, "second": 2, "third": 0}
    assert data.without_overlap(pairs, sets) == [("Good night.", "Bonne nuit."), ("?", "!")]


def test_shares_made(data):
    expected = [
        ("One thing.", "Une chose."),
        ("May I?", "Puis -je ?"),
        ("Two, of them", "Deux."),
        ("Three cats", "Trois"),
    ]
    made = [("One thing.", "Une chose."), ("May I?", "Puis-je ?"), ("two of them", "Deux"), ("Three cats", "Les trois")]
    assert data.shares_made(made, expected) == {"exact": 0.25, "cleaned": 0.5, "letters": 0.75, "english": 1.0}


# === Strings that stay as they are ===

PAIRS = [
    ("I saw Tom yesterday.", "J'ai vu Tom hier."), ("He left in 1989.", "Il est parti en 1989."),
    ("Boris's house has 12 windows.", "La maison de Boris a 12 fenêtres."), ("Is it on?", "Est-ce allumé ?"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["placeholder", "email", "url", "file", "code", "emoji", "name"])
def test_strings_are_the_same_on_both_sides(kinds, kind):
    if kind == "name":
        pytest.importorskip("faker", reason="needs the packages of the extra train")
    make, choose = getattr(kinds, kind), random.Random(1)
    strings = {make(choose) for _ in range(500)}
    assert len(strings) > 100 and not any(string != string.strip() or "□" in string for string in strings)
    drawn = []

    def remembered(choose):
        drawn.append(make(choose))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, kind, remembered)
        for _ in range(300):
            drawn.clear()
            pair = kinds.KINDS[kind](choose.choice(PAIRS), choose)
            if pair:
                assert pair not in PAIRS and "□" not in pair[0] + pair[1]
                assert any(pair[0].count(string) == pair[1].count(string) > 0 for string in drawn), pair


def test_where_a_name_gives_way(kinds):
    def put(english, french, string="{name}", **options):
        return kinds.in_place_of_a_name((english, french), string, **options)

    assert put("I saw Tom.", "J'ai vu Tom.") == ("I saw {name}.", "J'ai vu {name}.")
    assert put("Tom's dog", "Le chien de Tom") is None
    assert put("Tom's dog", "Le chien de Tom", possessive=True) == ("{name}'s dog", "Le chien de {name}")
    assert put("Ask the Commission.", "Demandez à la Commission.") is None
    assert put("I saw Alice", "Le chien d'Alice") is None
    assert put("Tom and Tom", "Tom et Tom") is None
    assert put("He's Tom's son.", "C'est le fils de Tom.", "Anna Dupont", possessive=True) is None
    assert put("Who's Mary?", "Qui est Marie ?") is None


def test_where_a_number_gives_way(kinds):
    assert kinds.in_place_of_a_number(("Room 12", "Chambre 12"), "%d") == ("Room %d", "Chambre %d")
    for pair in [
        ("12 or 13", "12 ou 13"),
        ("Room 12", "Chambre 13"),
        ("3.5", "3,5"),
        ("the 1st", "le 1er"),
        ("8%", "8 %"),
    ]:
        assert kinds.in_place_of_a_number(pair, "%d") is None


def test_quantities_have_the_separators_of_each_language(kinds):
    assert kinds.french_number("1,234,567.89") == "1 234 567,89"
    choose, seen = random.Random(1), set()
    for _ in range(200):
        english, french = kinds.quantified(("It has 12 windows.", "Elle a 12 fenêtres."), choose)
        number = re.fullmatch(r"It has (\d{1,3}(?:,\d{3})*(?:\.\d\d?)?) windows\.", english)[1]
        assert float(number.replace(",", "")) >= 2
        assert french == f"Elle a {number.replace(',', ' ').replace('.', ',')} fenêtres."
        seen |= set(number) & set(",.")
    assert seen == {",", "."}
    for pair in [
        ("In 1989 he left.", "En 1989, il partit."), ("On May 12 it rained.", "Le 12 mai il plut."),
        ("Room 12 has doors", "La chambre 12 a des portes"), ("2 cats, 3 dogs", "2 chats, 3 chiens"),
    ]:  # fmt: skip
        assert kinds.quantified(pair, choose) is None


def test_amounts(kinds):
    choose = random.Random(1)
    for _ in range(100):
        english, french = kinds.with_amount(None, choose)
        amounts = re.findall(r"([$€£])(\d+(?:,\d{3})*(?:\.\d+)?)", english)
        assert amounts and all(f"{kinds.french_number(number)} {sign}" in french for sign, number in amounts)


def test_shares_of_kinds(kinds):
    for package in ("faker", "num2words"):
        pytest.importorskip(package, reason="needs the packages of the extra train")
    assert set(kinds.SHARES) == set(kinds.KINDS)
    pairs = PAIRS * 250
    added = kinds.protected(pairs, seed=1)
    assert added == kinds.protected(pairs, seed=1) != kinds.protected(pairs, seed=2)
    assert len(added) == sum(int(share * 1_000) for share in kinds.SHARES.values()) == 115
    assert not set(added) & set(PAIRS)
    assert len(kinds.protected(pairs, 1, {"url": 0.1})) == 100
    with pytest.raises(ValueError, match="'quantity' can change them"):
        kinds.protected([("No number.", "Pas de nombre.")], 1, {"quantity": 1.0})
