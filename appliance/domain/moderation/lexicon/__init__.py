"""The moderator that is built in: English words and phrases, a table a family of categories.

`moderator.py` scores, `sentences.py` reads a text, `phrases.py` finds phrases in it; the tables are
`harassment.py`, `hate.py`, `illicit.py`, `self_harm.py`, `sexual.py`, `violence.py`, and the words
that several share `words.py`.  All of it is data and counting: see moderator.py for what that
cannot do.
"""
