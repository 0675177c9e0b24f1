from ipha_toolkit.wording import fixed, number


def test_a_number_of_any_size_has_words():
    assert fixed(3.2e36, 0) == "3.2e+36"
    assert number(-1e20) == "\u22121e+20"
