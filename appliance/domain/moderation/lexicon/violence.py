"""Violence towards people, and gore.  Data alone."""

from typing import Final

from appliance.domain.moderation.lexicon.words import CLEAR, HINT, LIKELY, Table

TABLE: Final[Table] = {
    "violence": (
        (LIKELY, "<harm> .. <person>"),
        (LIKELY, "<harm> <you>"),
        (HINT, "<harm> <pronoun>"),
        (CLEAR, "<i> <will> .. <harm> <you>/<person>/<pronoun>"),
        (LIKELY, "<i> <will> .. <hurt> <you>"),
        (LIKELY, "<hurt> up? <person>"),
        (LIKELY, "beat up? my wife/husband/girlfriend/boyfriend/kids/son/daughter/spouse"),
        (LIKELY, "hurt/harm/attack/beat/burn/throttle a/the/some/my .. <person>"),
        (LIKELY, "beat/beating .. to death"),
        (HINT, "<harmed> .. <person>"),
        (HINT, "<be> <harmed>"),
        (LIKELY, "shoot/shooting/shot up .. <place>"),
        (CLEAR, "blow/bomb/bombing/burn .. up/down .. <place>"),
        (LIKELY, "bomb/bombing .. <place>"),
        (LIKELY, "set .. <person>/<place> on fire"),
        (LIKELY, "break/smash/crush/cut/rip/hammer/bash/crack .. someone/person/human .. <body>"),
        (LIKELY, "<person> deserve/deserves to die"),
        (LIKELY, "mass shooting/murder/killing .. do/commit/plan/will"),
        (LIKELY, "plan/planning/commit/committing .. murder/massacre/shooting/assassination"),
        (HINT, "massacre/bloodbath/slaughter"),
        (LIKELY, "bash/smash/kick .. skull/head/face/teeth in"),
        (LIKELY, "slit/slitting/slits .. throat/throats"),
        (LIKELY, "put a bullet in"),
        (LIKELY, "stabbed/stabbing/stabs .. again/repeatedly/times"),
    ),
    "violence/graphic": (
        (LIKELY, "<gore> .. <spilled>"),
        (LIKELY, "<spilled> .. <gore>"),
        (LIKELY, "severed/mutilated/mangled/charred .. head/limb/limbs/arm/leg/body/corpse/hand"),
        (LIKELY, "slit/slitting/slits .. throat/throats .. blood?"),
        (LIKELY, "blood sprayed/sprays/spraying/gushed/gushing/splattered/spurted/pouring"),
        (HINT, "blood .. everywhere/walls/floor/mouth"),
        (HINT, "pool/pools/puddle of .. blood"),
        (LIKELY, "disembowel/disemboweled/disembowelled/eviscerated/flayed/skinned alive"),
        (
            LIKELY,
            "disemboweled/eviscerated/dismembered/decapitated .. body/corpse/him/her/them",
        ),
        (LIKELY, "skull/head .. crushed/exploded/split/caved/smashed"),
        (LIKELY, "crushed/smashed/split/caved .. skull"),
        (LIKELY, "gouge/gouged/gouging .. eyes/eye"),
        (LIKELY, "burned/skinned/flayed/eaten alive"),
        (LIKELY, "rotting/decomposing .. corpse/body/flesh"),
        (HINT, "gore/gory/entrails/disemboweled/decapitated/dismembered/beheading"),
    ),
}
