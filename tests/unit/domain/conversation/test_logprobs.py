from appliance.domain.conversation.logprobs import TokenLogprob, of_text, within


def likely(*tokens: str) -> list[TokenLogprob]:
    return [TokenLogprob(token, -1.0, token.encode()) for token in tokens]


def test_a_piece_has_the_tokens_that_begin_in_it() -> None:
    tokens = likely("ab", "cd", "e")
    assert within(tokens, 0, 5) == tokens
    assert within(tokens, 1, 3) == likely("cd")
    assert within(tokens, 4, 9) == likely("e")
    assert within((), 0, 5) == []


def test_a_text_among_other_tokens_has_its_own() -> None:
    assert of_text(likely("hm ", "Yes", "!", "<eos>"), "Yes!") == likely("Yes", "!")


def test_a_text_that_was_also_thought_before_has_the_tokens_it_was_said_with() -> None:
    thought, said = TokenLogprob("Yes", -0.5, b"Yes"), TokenLogprob("Yes", -0.1, b"Yes")
    assert of_text([thought, *likely(" or no: "), said], "Yes") == [said]


def test_a_text_its_tokens_do_not_spell_has_all_of_them() -> None:
    halves = likely("\ufffd", "\ufffd")  # of one character
    assert of_text(halves, "ø") == halves
