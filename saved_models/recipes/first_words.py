"""What visitors type first, with what should come out: for training, and for the table of each card."""

import re

# English, French, German, Spanish; the first of several is the usual one.
WORDS = (
    ("Hello", "Bonjour", "Hallo", "Hola"),
    ("Hi", "Salut", "Hallo", "Hola"),
    ("Hello, how are you?", "Bonjour, comment allez-vous ?", "Hallo, wie geht es Ihnen?", "Hola, ¿cómo estás?"),
    ("How are you?", "Comment allez-vous ?", "Wie geht es Ihnen?", "¿Cómo estás?"),
    ("Good morning", "Bonjour", "Guten Morgen", "Buenos días"),
    ("Good evening", "Bonsoir", "Guten Abend", "Buenas tardes"),
    ("Good night", "Bonne nuit", "Gute Nacht", "Buenas noches"),
    ("Goodbye", "Au revoir", "Auf Wiedersehen", "Adiós"),
    ("Bye", "Au revoir", "Tschüss", "Adiós"),
    ("See you tomorrow", "À demain", "Bis morgen", "Hasta mañana"),
    ("Yes", "Oui", "Ja", "Sí"),
    ("No", "Non", "Nein", "No"),
    ("OK", "D'accord", "OK", "Vale"),
    ("Okay", "D'accord", "Okay", "Vale"),
    ("Thanks", "Merci", "Danke", "Gracias"),
    ("Thank you", "Merci", "Danke", "Gracias"),
    ("Thank you very much", "Merci beaucoup", "Vielen Dank", "Muchas gracias"),
    ("You're welcome", "De rien", "Gern geschehen", "De nada"),
    ("Please", "S'il vous plaît", "Bitte", "Por favor"),
    ("Sorry", "Désolé", "Entschuldigung", "Perdón"),
    ("Excuse me", "Excusez-moi", "Entschuldigung", "Disculpe"),
    ("Welcome", "Bienvenue", "Willkommen", "Bienvenido"),
    ("Congratulations", "Félicitations", "Herzlichen Glückwunsch", "Felicidades"),
    ("Happy birthday", "Joyeux anniversaire", "Alles Gute zum Geburtstag", "Feliz cumpleaños"),
    ("Help", "À l'aide", "Hilfe", "Ayuda"),
    ("Stop", "Arrêtez", "Halt", "Alto"),
    ("What is your name?", "Comment vous appelez-vous ?", "Wie heißen Sie?", "¿Cómo te llamas?"),
    ("My name is Anna", "Je m'appelle Anna", "Ich heiße Anna", "Me llamo Anna"),
    ("I love you", "Je t'aime", "Ich liebe dich", "Te quiero"),
    ("Where are you from?", "D'où venez-vous ?", "Woher kommen Sie?", "¿De dónde eres?"),
    ("I don't know", "Je ne sais pas", "Ich weiß es nicht", "No lo sé"),
    ("I don't understand", "Je ne comprends pas", "Ich verstehe nicht", "No entiendo"),
    ("What time is it?", "Quelle heure est-il ?", "Wie spät ist es?", "¿Qué hora es?"),
    ("Test", "Test", "Test", "Prueba"),
    ("This is a test", "C'est un test", "Das ist ein Test", "Esta es una prueba"),
    ("Hello world", "Bonjour le monde", "Hallo Welt", "Hola mundo"),
    ("Water", "Eau", "Wasser", "Agua"),
    ("House", "Maison", "Haus", "Casa"),
    ("Cat", "Chat", "Katze", "Gato"),
    ("Dog", "Chien", "Hund", "Perro"),
    ("Love", "Amour", "Liebe", "Amor"),
    ("Monday", "Lundi", "Montag", "Lunes"),
    ("Red", "Rouge", "Rot", "Rojo"),
    ("One, two, three", "Un, deux, trois", "Eins, zwei, drei", "Uno, dos, tres"),
)
LANGUAGES = ("en", "fr", "de", "es")
# Comes out as it goes in.
UNCHANGED = ("Anna", "Tom", "London", "42", "3.14", "2 + 2 = 4", "1, 2, 3", "?", "...", "!", "-", "", "  ")
CLOSING = re.compile(r"\s*[.?!]*$")
# Forty texts of visitors, by their place in `WORDS` or as they stand.
VISITORS = (
    "Hello", "hello", "HELLO", "Hello!", "Hi", "Hello, how are you?", "how are you", "Good morning", "Good night",
    "Goodbye", "Bye", "Yes", "No", "yes", "OK", "Okay", "Thanks", "Thank you", "THANK YOU", "Thank you very much",
    "You're welcome", "Sorry", "Help", "What is your name?", "My name is Anna", "I love you", "I don't know",
    "Hello world", "This is a test", "Test", "Water", "Cat", "Monday", "Anna", "42", "2 + 2 = 4", "1, 2, 3", "...",
    "?", "",
)  # fmt: skip


def pairs(source, target):
    """All pairs for training: with and without an end, in small letters, in capitals.

    Args:
        source, target: str, of `LANGUAGES`.
    """
    sides = [(row[LANGUAGES.index(source)], row[LANGUAGES.index(target)]) for row in WORDS]
    found = []
    for pair in sides:
        if CLOSING.search(pair[0])[0]:  # A question.
            found += [pair, tuple(CLOSING.sub("", side).lower() for side in pair)]
        else:
            spaced = " !" if target == "fr" else "!"
            found += [pair, tuple(f"{side}." for side in pair), (f"{pair[0]}!", f"{pair[1]}{spaced}")]
            found.append(tuple(side.lower() for side in pair))
        found.append(tuple(side.upper() for side in pair))
    # Several sources in one language may be one in the other, whose first translation counts.
    usual = {pair[0]: pair for pair in reversed(found)}
    return list(usual.values()) + [(text, text) for text in UNCHANGED if text.strip()]


def visitors(source, target):
    """The forty texts that visitors type, in the language of the source, with what should come out."""
    expected = dict(pairs(source, target)) | {text: text for text in UNCHANGED}
    found = []
    for text in VISITORS:
        translated = in_language(text, source)
        found.append((translated, expected.get(translated, in_language(text, target))))
    return found


def in_language(text, language):
    """An English text of `VISITORS` in a language, in the same case and with the same end."""
    for row in WORDS:
        word = CLOSING.sub("", row[0])
        if CLOSING.sub("", text).lower() == word.lower():
            other = row[LANGUAGES.index(language)]
            if not CLOSING.search(text)[0]:
                other = CLOSING.sub("", other)
            elif not CLOSING.search(row[0])[0]:
                other += " !" if language == "fr" else "!"
            return other.lower() if text.islower() else other.upper() if text.isupper() and len(text) > 2 else other
    return text


def agrees(output, expected):
    """Whether two texts differ at most in case and in punctuation at the end."""
    return CLOSING.sub("", output).lower() == CLOSING.sub("", expected).lower() and bool(output) == bool(expected)


def table(generator, source, target):
    """The lines of a card's table: what comes out for the forty texts."""
    texts = [text for text, _ in visitors(source, target)]
    outputs = generator.generate(texts)
    cells = [f"{text or '(nothing)'} → {output or '(nothing)'}" for text, output in zip(texts, outputs, strict=True)]
    rows = [" | ".join(cells[row : row + 4]) for row in range(0, len(cells), 4)]
    return "\n".join(["| | | | |", "|---|---|---|---|", *(f"| {row} |" for row in rows)])
