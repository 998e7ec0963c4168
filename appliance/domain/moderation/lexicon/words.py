"""Sets of words that the tables share, and what makes a phrase harmless.  Data alone.

Words are as sentences.py leaves them: lower case, contractions written out, no apostrophes.
"""

from collections.abc import Mapping
from typing import Final

from appliance.domain.moderation.lexicon.phrases import split

# Weights of the tables: flagged by itself without a doubt, flagged by itself, half of it, a trace.
CLEAR: Final = 0.9
LIKELY: Final = 0.6
HINT: Final = 0.3
FAINT: Final = 0.15
Row = tuple[float, str]
Table = Mapping[str, tuple[Row, ...]]

SETS: Final[Mapping[str, frozenset[str]]] = {
    # Who speaks, and of what is to come.
    "i": split(("i we",)),
    "will": split(("will would want wanna gonna going shall am should must might plan planning",)),
    "want": split(("want wanna wish wished hope plan planning going gonna ready decided like",)),
    "how": split(("how ways way method methods instructions steps guide recipe tutorial",)),
    "be": split(("am is are was were be been being",)),
    "all": split(("all the those these every any most",)),
    # Whom something is done to: people, never things or animals.
    "you": split(("you him her u ya yourself",)),
    "pronoun": split(("them they it this that",)),
    "person": split((
        "someone somebody anyone anybody everyone everybody person people human humans humanity",
        "man men woman women guy guys girl girls boy boys kid kids child children baby toddler",
        "teenager wife husband spouse partner girlfriend boyfriend ex mother mom father dad",
        "parents parent grandparent grandmother brother sister family neighbor neighbors",
        "neighbour neighbours friend roommate coworker colleague classmate classmates student",
        "students teacher boss cop cops police officer officers soldier soldiers politician",
        "president senator mayor judge doctor nurse priest civilians crowd stranger victim date",
    )),
    "people": split(("people person men man women woman folks ones community",)),
    "place": split((
        "school schools church mosque synagogue temple hospital airport building mall concert",
        "embassy house home office station stadium train bus plane university classroom bank city",
        "base store police",
    )),
    "body": split((
        "head skull face throat neck legs leg arms arm bones bone spine ribs teeth sternum jaw",
        "fingers eyes",
    )),
    # What is done, as a plan tells it (kill, killing) and as a report does (killed).
    "harm": split((
        "kill killing murder murdering stab stabbing shoot shooting strangle strangling choke",
        "choking poison poisoning execute executing behead beheading slaughter slaughtering slay",
        "torture torturing rape raping drown drowning punch punching assault assaulting gut",
        "gutting butcher butchering assassinate assassinating lynch lynching kidnap kidnapping",
        "exterminate exterminating annihilate annihilating eradicate eradicating massacre",
        "massacring decapitate decapitating dismember dismembering snipe sniping",
    )),
    "harmed": split((
        "killed kills murdered murders stabbed stabs shot strangled strangles choked poisoned",
        "executed beheaded slaughtered tortured raped rapes drowned punched assaulted butchered",
        "assassinated lynched kidnapped massacred decapitated dismembered",
    )),
    "hurt": split((
        "hurt hurting hit hitting attack attacking beat beating break breaking crush crushing",
        "smash smashing burn burning destroy destroying harm harming eliminate eliminating",
        "terminate terminating throttle throttling slap slapping kick kicking harass stalk",
        "overpower push pushing",
    )),
    "die": split(("die dies dead killed gassed exterminated eradicated shot hanged lynched burn "
                  "burned murdered eliminated slaughtered",)),
    # Groups that the categories of hate protect.
    "group": split((
        "jews jewish jew muslims muslim christians christian hindus hindu sikhs catholics",
        "blacks black whites white asians asian africans african arabs arab mexicans mexican",
        "indians latinos latinas chinese japanese koreans pakistanis immigrants immigrant migrants",
        "refugees foreigners gays gay lesbians lesbian homosexuals homosexual queers bisexuals",
        "transgender transsexuals trans disabled autistic gypsies roma natives aboriginals women",
        "females dalits",
    )),
    "vile": split((
        "animals vermin subhuman subhumans parasites parasite rats cockroaches roaches insects",
        "filth filthy scum disease plague inferior trash garbage savages apes monkeys pigs dogs",
        "evil disgusting worthless dirty stupid lazy criminals thieves rapists terrorists demons",
        "degenerates degenerate abominations abomination primitive leeches infestation cancer",
        "sick mentally",
    )),
    "hate": split(("hate hates despise despises loathe loathes detest detests hating",)),
    "insult": split((
        "idiot idiots moron morons stupid dumb dumbass imbecile loser losers pathetic worthless",
        "useless ugly disgusting trash garbage scum bitch bitches asshole assholes bastard",
        "dickhead dick prick cunt cunts whore slut sluts twat wanker shithead fatass pig coward",
        "failure joke freak freaks creep retarded disgrace waste fool clown psycho brainless",
        "cretin vermin",
    )),
    # What is made, bought, taken.
    "make": split((
        "make making build building create creating construct cook cooking synthesize synthesise",
        "synthesizing manufacture manufacturing assemble produce producing prepare extract grow",
    )),
    "get": split(("buy buying get getting obtain obtaining purchase sell selling order smuggle",)),
    "drug": split((
        "meth methamphetamine cocaine coke crack heroin fentanyl mdma ecstasy lsd ghb opium pcp",
        "amphetamine amphetamines ketamine",
    )),
    "weapon": split((
        "bomb bombs explosive explosives grenade grenades molotov napalm sarin ricin anthrax",
        "bioweapon bioweapons detonator tatp ied silencer suppressor landmine thermite",
    )),
    "gun": split(("gun guns firearm firearms rifle pistol ammo ammunition handgun",)),
    "steal": split(("steal stealing shoplift shoplifting rob robbing burgle pickpocket loot hijack"
                    " carjack",)),
    "goods": split((
        "car cars wallet wallets purse money phone phones bike identity identities jewelry cash",
        "store shop bank casino package packages data passwords credentials credit atm",
    )),
    "hack": split(("hack hacking breach compromise",)),
    "account": split((
        "account accounts email emails password passwords wifi phone network computer webcam",
        "facebook instagram bank website server camera cameras",
    )),
    "forge": split(("forge forging fake faking counterfeit counterfeiting falsify",)),
    "paper": split((
        "passport passports id ids license licence licenses signature prescription prescriptions",
        "money bills banknotes currency checks diploma visa documents certificate vaccine",
    )),
    # Sex and who is too young for it.
    "sexual": split((
        "sex sexual sexually naked nude nudes porn pornography pornographic erotic erotica fuck",
        "fucks fucked fucking molest molesting rape raping seduce seducing masturbate blowjob",
        "orgasm genitals lewd undress undressing topless intercourse aroused hentai sexy",
    )),
    "minor": split((
        "child children kid kids minor minors underage toddler toddlers preteen preteens infant",
        "infants schoolgirl schoolgirls schoolboy loli shota prepubescent daughter stepdaughter",
    )),
    "age": split((
        "3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 five six seven eight nine ten eleven twelve",
        "thirteen fourteen fifteen sixteen seventeen",
    )),
    "self": split(("myself",)),
    "gore": split((
        "intestines guts entrails brains brain organs flesh viscera eyeballs eyeball bowels",
    )),
    "spilled": split((
        "spilled spilling splattered splatter hanging everywhere exploded oozing torn ripped",
        "strewn leaking pouring smeared exposed spread ripping tearing dripping",
    )),
}  # fmt: skip

NEGATIONS: Final = split((
    "not never no nobody without stop stopped against avoid prevent preventing refuse refused nor",
    "neither cannot denied deny wrong illegal",
))  # fmt: skip
# A sentence with one of these tells of a work, a game, a case or a remedy rather than a deed.
FRAMES: Final = split((
    "novel story stories fiction fictional film films movie movies book books character characters",
    "plot screenplay episode series scene theater poem lyrics song myth mythology game games",
    "gaming gta minecraft fortnite skyrim chess checkers boxing judo karate wrestling battlefield",
    "documentary history historical historian museum war century article newspaper news report",
    "reports reported reporting study studies research researchers statistics journalist police",
    "court convicted charged arrested trial sentenced prosecutor lawyer law laws policy defendant",
    "prevention preventing prevent hotline therapy therapist counselor awareness support charity",
    "survivor survivors treatment education educational biology medical medicine clinic health",
    "hamlet shakespeare bible quote quoted debate legislation detective investigators symptoms",
))  # fmt: skip

# Said every day and meant otherwise; their words count for nothing.
IDIOMS: Final = (
    "kill/killing/kills/killed .. child/children/parent/orphan process/processes/thread/node/task",
    "child/parent/orphan process/processes/node/nodes/class/classes/element/elements/window",
    "kill/killing/killed time", "kill two birds", "kill/killing the mood", "killing it",
    "killed it", "killing me", "dressed to kill", "die of/from/laughing",
    "die .. laughing/laughter/embarrassment/boredom/shame/hunger", "dying to", "die hard",
    "to die for", "drop dead gorgeous", "dead tired", "dead serious", "dead end", "deadline",
    "shoot/shooting <you>/me/us/them/someone a/an/the email/message/text/note/mail/dm/line/photo",
    "shoot/shooting .. photo/photos/picture/pictures/video/videos/film/movie/portrait/hoops",
    "photo shoot/shooting", "shoot me", "shoot for", "trouble shooting", "shooting star/stars",
    "bath bomb/bombs", "photo bomb", "cherry bomb", "bomb shelter", "bomb disposal", "bomb squad",
    "smoke bomb", "glitter bomb", "seed bomb/bombs", "suicide squad", "suicide prevention",
    "punching bag", "punch line", "punch card", "beat you to", "beat .. at/in chess/tennis",
    "choke point", "choking hazard", "hit me up", "hit/hitting the gym/road/books/sack",
    "break a leg", "break the ice", "heart attack", "panic attack/attacks", "attack surface",
    "attack vector/vectors", "murder mystery", "murder of crows", "sick burn", "burn calories",
    "steal/stealing/stole .. heart/show/base/thunder/look/glance", "rob peter",
    "life hack/hacks", "growth hack/hacking", "hack day", "ethical hacking", "mock password",
    "sex education", "sexual education", "sexual health", "sexual orientation", "sex ed",
    "sexual assault", "sexual abuse", "sexual harassment", "sex offender/offenders",
    "sex chromosome/chromosomes", "same sex", "sex ratio", "naked eye", "naked mole", "cum laude",
    "sexually transmitted", "opposite sex", "biological sex", "sexual reproduction", "fake news",
    "crack/cracking .. code/problem/egg/joke/whip", "coke can/bottle/zero", "diet coke",
    "can of coke", "crack in", "crack open", "grow/growing .. business/plants/vegetables/company",
    "guilty pleasure", "black box/board/friday/hole/holes/coffee", "white paper/board/space/wine",
    "trash can", "garbage collector/collection", "trash talk", "dead letter", "hot dog",
    "inside joke", "good joke", "bomb .. test/exam/interview", "execute/executing .. query/command/"
    "script/code/plan/program/statement/function/test/tests",
)  # fmt: skip
