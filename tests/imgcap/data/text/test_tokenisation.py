"""Text to words and back: languages by hand, round trips at random, Flickr8k's captions."""

import hashlib
import random
import time
import unicodedata

import pytest

from imgcap.config.prepare import TOKENIZERS
from imgcap.data.text.tokenisation import join_words, normalise
from tests.support.paths import SHARED

LANGUAGES = {
    "French": ("L'homme d'un pull qu’il a", "l' homme d' un pull qu' il a"),
    "French, more": ("Aujourd'hui, lorsqu'elle n'est là", "aujourd' hui lorsqu' elle n' est là"),
    "Italian": ("Un'amica all'aperto, c'è l'erba", "un' amica all' aperto c' è l' erba"),
    "Catalan": ("L'home i la col·lecció", "l' home i la col·lecció"),
    "English": ("A dog's ball isn't at 5 o'clock", "a dog 's ball is n't at 5 o clock"),
    "English plural": ("the boys' old toys, rock 'n' roll", "the boys old toys rock n roll"),
    "Turkish": ("İstanbul, istanbul, I\u0307STANBUL, ISPARTA ısı", "istanbul " * 3 + "isparta ısı"),
    "Vietnamese": ("Một con cho\u0301 đang cha\u0323\u0302y", "một con chó đang chậy"),
    "decomposed without a composed form": ("x\u0323\u0304y o\u0329", "x\u0323\u0304y o\u0329"),
    "German": ("Ein weiß-brauner Hund läuft.", "ein weiß-brauner hund läuft"),
    "Greek": ("Ένας ΣΚΎΛΟΣ τρέχει", "ένας σκύλος τρέχει"),
    "Ukrainian": ("П'ять псів, п’ять", "п'ять псів п'ять"),
    "Russian with stress": ("больша\u0301я соба\u0301ка", "больша\u0301я соба\u0301ка"),
    "Hebrew": (
        "כֶּלֶב רָץ. ג'ירפה בצה״ל",
        "כֶּלֶב רָץ ג'ירפה בצה״ל",
    ),
    "Arabic": ("كَلْبٌ يَجْرِي، ٣٫٥ كم", "كَلْبٌ يَجْرِي ٣٫٥ كم"),
    "Persian": ("می\u200cخواهم\u200c بروم", "می\u200cخواهم بروم"),
    "Hindi": ("एक हिन्दी कुत्ता दौड़ता है।", "एक हिन्दी कुत्ता दौड\u093cता है"),
    "Bengali": ("র\u200d্যাম একটি কুকুর।", "র\u200d্যাম একটি কুকুর"),
    "Tamil": ("ஒரு நாய் ஓடுகிறது.", "ஒரு நாய் ஓடுகிறது"),
    "Korean": ("개가 \u1100\u1161\u11bc에서 뛴다.", "개가 강에서 뛴다"),
    "Thai": ("สุนัขวิ่ง บนหญ้า", "สุนัขวิ่ง บนหญ้า"),
    "Chinese": ("一只狗，在草地上。", "一只狗 在草地上"),
    "invisible characters": ("\ufeffca\u00adfé \u200fdog\u2060s 1\ufe0f\u20e3", "café dogs 1"),
    "breaks that Python knows": ("a\u2028b\u0085c\u00a0d\u3000é", "a b c d é"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_languages(language: str) -> None:
    text, words = LANGUAGES[language]
    assert normalise(text) == words.split(" ")


CHARACTERS = {
    "Chinese": ("一只狗，在草地上。", "一 只 狗 在 草 地 上", "一只狗在草地上"),
    "Chinese with others": (
        "3只Nike的T-shirt狗's",
        "3 只 nike 的 t-shirt 狗 's",
        "3 只 nike 的 t-shirt 狗's",
    ),
    "rare Han": ("𠮷野家", "𠮷 野 家", "𠮷野家"),
    "Japanese": ("犬がボールで遊ぶ", "犬 が ボ ー ル で 遊 ぶ", "犬がボールで遊ぶ"),
    "Japanese, decomposed": ("か\u3099 ｶﾞ", "が ｶﾞ", "がｶﾞ"),
    "Thai": ("น้ำ ๑๒ วิ่ง", "น้ำ ๑๒ วิ่ ง", "น้ำ ๑๒ วิ่ง"),
    "Lao": ("ໝາແລ່ນ", "ໝ າ ແ ລ່ ນ", "ໝາແລ່ນ"),
    "Khmer": ("ខ្មែរ", "ខ្មែ រ", "ខ្មែរ"),
    "Myanmar": ("ခွေး မန္တလေး", "ခွေး မ န္တ လေး", "ခွေးမန္တလေး"),
    "Korean": ("개가 뛴다", "개가 뛴다", "개가 뛴다"),
    "French": ("L'homme", "l' homme", "l'homme"),
}


@pytest.mark.parametrize("language", CHARACTERS)
def test_characters_of_scripts_without_spaces(language: str) -> None:
    text, words, joined = CHARACTERS[language]
    assert normalise(text, "character") == words.split(" ")
    assert join_words(words.split(" "), "character") == joined


def test_words_that_were_split_beforehand_keep_their_spaces() -> None:
    assert join_words(normalise("一只 狗 在 草地上")) == "一只 狗 在 草地上"


# Letters, marks, signs and invisible characters that meet rules; the rest of Unicode comes besides.
_ODD = (
    "aeilnstdquhSIİıÉ'’ .,-_‐·\"#3512\u0301\u0307\u0323\u0345\u093fक\u094dर\u200c\u200d\u200b\u00ad"
    "ก\u0e33\u0e31เ中国、カー\u3099ｶﾞខ\u17d2ម\u1039က\u05bcש״кп\u064eب٣٫𠮷한\u1112\u1161\u11ab①ſKΣς"
)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_splitting_words_again_gives_the_same_words(tokenizer: str) -> None:
    drawn = random.Random(0)
    assigned = [
        letter
        for letter in map(chr, range(0x20, 0x30000))
        if unicodedata.category(letter) not in ("Cn", "Cs")
    ]
    for number in range(6_000):
        letters = assigned if number % 3 == 0 else _ODD
        text = "".join(drawn.choice(letters) for _ in range(drawn.randint(1, 12)))
        words = normalise(text, tokenizer)
        assert normalise(" ".join(words), tokenizer) == words, ascii(text)
        assert normalise(join_words(words, tokenizer), tokenizer) == words, ascii(text)
        for word in words:
            # What a line of vocab.txt must be.
            assert word.split() == [word] == word.splitlines(), ascii(text)
            assert unicodedata.normalize("NFC", word) == word, ascii(text)


LONG = {
    "marks": "a" + "\u0301\u0316" * 100_000,
    "joiners": "क" + "\u200d" * 200_000,
    "joiners and marks": "क" + "\u200d\u0316" * 100_000,
    "apostrophes": "п'" * 100_000,
    "elisions": "l'" * 100_000 + "é",
    "digits": "1" * 200_000 + "é",
    "dots": "1." * 100_000 + "é",
    "stacks": "\u17d2\u1780" * 100_000,
    "dotted letters": "a.\u0301" * 60_000,
}


@pytest.mark.parametrize("name", LONG)
def test_time_grows_with_the_text_alone(name: str) -> None:
    started = time.process_time()
    for tokenizer in TOKENIZERS:
        normalise(LONG[name], tokenizer)
    # Some tenths; a search that looks back takes minutes: 40,000 marks cost NFC 25 s.
    assert time.process_time() - started < 10


def test_a_letter_keeps_thirty_marks() -> None:
    assert normalise("a" + "\u0323" * 100) == ["\u1ea1" + "\u0323" * 29]


@pytest.mark.skipif(not (SHARED / "flickr8k").is_dir(), reason=f"no Flickr8k captions in {SHARED}")
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_words_of_flickr8k_stay(tokenizer: str) -> None:
    text = (SHARED / "flickr8k" / "Flickr8k.token.txt").read_text(encoding="utf-8")
    captions = [line.split("\t", 1)[1] for line in text.splitlines()]
    lines = "\n".join(" ".join(normalise(caption, tokenizer)) for caption in captions)
    assert len(captions) == 35_455
    # By the splitter that knew the rules for English alone.
    expected = "e051f0d68306fbd464be8a1bd2210ac950fb82312bdfc4ecda42e86b7588ba5f"
    assert hashlib.sha256(lines.encode()).hexdigest() == expected
