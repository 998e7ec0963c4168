"""Hate: towards people for what they were born as or believe.  Data alone.

The slurs below are what is looked for; they are as few as still serve.
"""

from typing import Final

from appliance.domain.moderation.lexicon.words import CLEAR, HINT, LIKELY, Table

TABLE: Final[Table] = {
    "hate": (
        (CLEAR, "nigger/niggers/kike/kikes/faggot/faggots/spic/spics/wetback/wetbacks/gook/gooks"),
        (CLEAR, "chink/chinks/raghead/ragheads/towelhead/towelheads/tranny/trannies/shemale"),
        (LIKELY, "fag/fags/dyke/dykes/paki/pakis/coon/coons/beaner/beaners/gyppo/retard/retards"),
        (LIKELY, "<group> <people>? are/is .. <vile>"),
        (LIKELY, "<vile> .. <group>"),
        (CLEAR, "<i>/everyone/people <hate> .. <group>"),
        (LIKELY, "<hate> <all>? <group>"),
        (LIKELY, "<group> <people>? do not belong"),
        (LIKELY, "<group> <people>? should/must .. banned/deported/removed/sterilized/caged"),
        (LIKELY, "<group> <people>? ruin/ruined/ruining/destroy/destroying/invading/infest"),
        (LIKELY, "<group> control/controls/own/owns .. world/media/banks/money"),
        (LIKELY, "no <group> allowed"),
        (LIKELY, "get rid of .. <group>"),
        (LIKELY, "go back to your/their .. country"),
        (CLEAR, "white/aryan power/supremacy/pride"),
        (CLEAR, "master race"),
        (LIKELY, "race traitor/traitors/mixing"),
        (CLEAR, "heil hitler"),
        (CLEAR, "hitler was right"),
        (LIKELY, "women/females belong in .. kitchen"),
        (LIKELY, "women/females should .. obey/silent"),
        (HINT, "fucking .. <group>"),
    ),
    "hate/threatening": (
        (CLEAR, "<harm> .. <group>"),
        (CLEAR, "gas/burn/bomb/shoot/hang/eliminate/purge .. <group>"),
        (CLEAR, "<group> <people>? .. should/must/deserve/need .. <die>"),
        (CLEAR, "death to .. <group>"),
        (CLEAR, "wipe out .. <group>"),
        (LIKELY, "final solution .. <group>"),
        (LIKELY, "race war"),
    ),
}
