"""The p-value of two systems, where it is known."""

REFERENCES = [
    f"{count} men walk {way} the road to town" for count in ("two", "three", "four") for way in ("up", "down")
]


def test_p_value(load_benchmark):
    p_value = load_benchmark("significance").p_value
    wrong = ["a dog runs over a field of grass"] * len(REFERENCES)
    one_wrong = [*REFERENCES[:-1], wrong[0]]  # A third of the draws have that sentence not at all.
    assert p_value(REFERENCES, REFERENCES, REFERENCES) == 1.0
    assert p_value(REFERENCES, wrong, REFERENCES) == p_value(wrong, REFERENCES, REFERENCES) < 0.01
    assert 0.05 < p_value(one_wrong, REFERENCES, REFERENCES) < 1.0
