"""Sexual: what is meant to arouse, and anything sexual about minors.  Data alone."""

from typing import Final

from appliance.domain.moderation.lexicon.words import CLEAR, FAINT, HINT, LIKELY, Table

TABLE: Final[Table] = {
    "sexual": (
        (LIKELY, "porn/pornographic/xxx/nsfw/hentai/erotica/smut"),
        (LIKELY, "blowjob/handjob/cumshot/gangbang/deepthroat/creampie/rimjob"),
        (HINT, "horny/aroused/erotic/orgasm/orgasms/climaxed/moaned/moaning/moans"),
        (HINT, "cock/pussy/clit/tits/boobs/cum/dildo/vibrator/penis/vagina/nipples/erection"),
        (HINT, "masturbate/masturbated/masturbating/masturbation/fingering/foreplay"),
        (HINT, "naked/nude/topless/undressed/lingerie/thong"),
        (HINT, "thrust/thrusts/thrusting/penetrated/penetrating/straddled/straddling"),
        (FAINT, "sex/sexual/sexy/kinky/fetish/bondage"),
        (HINT, "have/having/had .. sex"),
        (HINT, "fuck/fucked/fucks/fucking me/him/her/them"),
        (LIKELY, "<i> .. <want>/will/am .. fuck/fucking <you>"),
        (LIKELY, "fuck me"),
        (CLEAR, "send/share/show .. nudes"),
        (LIKELY, "send/share/show .. nude/naked"),
        (LIKELY, "<make>/write .. sex/sexual/erotic/explicit scene/story/roleplay/fantasy"),
        (LIKELY, "sex/sexual/erotic/explicit scene/roleplay/fantasy/chat"),
        (LIKELY, "suck/sucked/sucking/lick/licked/licking my/his/her/your"),
        (HINT, "anal/oral sex"),
        (LIKELY, "escort/escorts service/services"),
        (LIKELY, "happy ending massage"),
        (HINT, "one night stand"),
    ),
    "sexual/minors": (
        (CLEAR, "<sexual> .. <minor>"),
        (CLEAR, "<minor> .. <sexual>"),
        (CLEAR, "<age> year/years/yr/yo old? .. <sexual>"),
        (CLEAR, "<age> yo .. <sexual>"),
        (CLEAR, "<sexual> .. <age> year/years/yr/yo"),
        (CLEAR, "child/kiddie/kid/preteen/underage porn/pornography/erotica"),
        (LIKELY, "csam/jailbait/pedo/pedophile/pedophilia/lolicon/shotacon"),
        (HINT, "groom/grooming .. <minor>"),
    ),
}  # fmt: skip
