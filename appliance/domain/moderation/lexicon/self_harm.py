"""Self-harm: spoken of, intended, advised.  Data alone."""

from typing import Final

from appliance.domain.moderation.lexicon.words import CLEAR, FAINT, HINT, LIKELY, Table

_DEED = "kill/hang/drown/shoot/stab/poison/overdose"
_DOING = "killing/hanging/drowning/shooting/poisoning/overdosing"

TABLE: Final[Table] = {
    "self-harm": (
        (FAINT, "suicide/suicidal"),
        (HINT, "self harm/harming/injury"),
        (LIKELY, "commit/committing/committed/attempt/attempted suicide"),
        (LIKELY, "cut/cutting/hurt/hurting/burn/burning/harm/harming/starve/starving myself"),
        (LIKELY, "cut/cutting/slit/slitting my/your wrists/wrist/arms/arm/artery/thighs"),
        (CLEAR, "thinspo/thinspiration/proana/promia"),
        (CLEAR, "pro ana/mia"),
        (LIKELY, "overdose/overdosing on"),
        (HINT, "suicide note/pact"),
    ),
    "self-harm/intent": (
        (CLEAR, f"{_DEED} myself"),
        (CLEAR, f"{_DOING} myself"),
        (CLEAR, "<i> .. <want> to die"),
        (CLEAR, "<i> .. <want> to end it all?"),
        (CLEAR, "end/ending/take/taking my .. life"),
        (CLEAR, "i do not want to live/exist"),
        (CLEAR, "i do not want to be alive"),
        (LIKELY, "i do not want to be here anymore"),
        (CLEAR, "i do not want to wake up"),
        (CLEAR, "i am .. suicidal"),
        (LIKELY, "i wish i was/were dead"),
        (LIKELY, "i wish i was/were never born"),
        (LIKELY, "better off without me"),
        (LIKELY, "i .. better off dead"),
        (LIKELY, "no reason/point to/in live/living"),
        (LIKELY, "cannot go on living"),
        (LIKELY, "i .. <want>/need to cut/hurt/harm/starve myself"),
        (LIKELY, "thinking/thoughts of/about suicide/dying"),
        (LIKELY, "pierce/carve/cut/sever/slash .. my .. artery/arm/arms/wrist/wrists"),
        (LIKELY, "writing/wrote/write my suicide/goodbye note/letter"),
    ),
    "self-harm/instructions": (
        (CLEAR, f"<how> .. {_DEED} myself/yourself"),
        (CLEAR, "<how> .. commit suicide"),
        (CLEAR, "<how> .. end my/your life"),
        (CLEAR, "<how> .. cut/slit my/your wrists/wrist"),
        (CLEAR, "painless/quickest/easiest/best .. <how>? to die"),
        (CLEAR, "painless .. suicide"),
        (CLEAR, "suicide method/methods"),
        (CLEAR, "you should .. kill/hang/shoot yourself"),
        (LIKELY, "kill/hang/cut yourself"),
        (LIKELY, "tie .. noose"),
        (CLEAR, "how many .. pills/tablets .. kill/die/overdose/fatal"),
        (LIKELY, "lethal/fatal dose/overdose"),
        (LIKELY, "hide/hiding .. cuts/scars/purging .. parents/family?"),
        (LIKELY, "hide/hiding my/your cuts/scars"),
        (LIKELY, "<how> .. purge/starve/starving .. myself/yourself?"),
        (LIKELY, "<how> .. stop eating"),
    ),
}
