"""Pattern rules: category, cause and fix of a failure from its error message and its log, without a model.

A rule is a pattern over text, the category it means, and what to do. Rules are tried in order, the telling before the general:
first on the error message, then on the lines of the log that look like errors, from the last one back, then on the whole log.
How urgent it is decides `severity`. How right both are is measured: `python -m failure_analysis score` (docs/failures.md).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from failure_analysis.records import FailureAnalysis, FailureCategory
from failure_analysis.severity import severity

LOG_CHARACTERS = 3000
"""The end of a log that is looked at, by rules and models alike."""
CAUSE_CHARACTERS = 400

SYNTAX, IMPORT, VALIDATION, RUNTIME, TIMEOUT, RESOURCE, LOGIC = FailureCategory


class Rule(NamedTuple):
    """One pattern and what it means. `fix` may use the pattern's named groups."""

    category: FailureCategory
    pattern: re.Pattern[str]
    fix: str


def _rule(category: FailureCategory, pattern: str, fix: str) -> Rule:
    return Rule(category, re.compile(pattern, re.IGNORECASE | re.MULTILINE), fix)


RULES: tuple[Rule, ...] = (
    # -- a loss or a policy that is lost: the words "runtime error" around it say nothing
    _rule(LOGIC, r"\b(loss|reward|grad\w*|gradient( norm)?|perplexity)\b[^\n]{0,40}\b(nan|inf|not finite|diverged)\b|\bdiverged\b",
          "Go back to the last good checkpoint, lower the learning rate or clip gradients, and check the data of that step."),
    # -- resources
    _rule(RESOURCE, r"cuda out of memory|outofmemoryerror: cuda|cublas_status_alloc_failed|hip out of memory|mps backend out of memory",
          "Use a smaller batch or sequence, gradient checkpointing or a larger GPU; check that nothing else holds its memory."),
    _rule(RESOURCE, r"no space left on device|enospc|errno 28\b|disk quota exceeded|edquot|disk (is )?full|not enough (free )?disk"
          r"|database or disk is full|only \d+ mib are free",
          "Free space on the volume or point the output elsewhere; then run it again, and add an alert on free space."),
    _rule(RESOURCE, r"java\.lang\.outofmemoryerror|heap out of memory|heap limit|out of memory|oom[- ]?kill|\bmemoryerror\b"
          r"|cannot allocate memory|std::bad_alloc|signal: killed|killed signal|oom_reaper|exit code 137|^killed$|alloc failed",
          "Give the process more memory or make it use less: fewer workers, smaller batches, streaming instead of loading."),
    _rule(RESOURCE, r"too many open files|\bemfile\b|\benfile\b|errno 24\b",
          "Close files and sockets after use, or raise the limit (ulimit -n)."),
    _rule(RESOURCE, r"address already in use|eaddrinuse|port is already allocated|errno 98\b",
          "Let the system choose the port (port 0), or stop what holds it."),
    _rule(RESOURCE, r"i/o error|read-only file system|remounting filesystem|blk_update_request|smart error|ecc error|xid \d+",
          "Replace the device or move off the host; check the data that was being written."),
    _rule(RESOURCE, r"queuepool limit|too many (clients|connections)|connection slots|connection pool (is )?(exhausted|full)"
          r"|pool exhausted|unable to acquire connection|resource temporarily unavailable|can't start new thread",
          "Return connections promptly, cap the number of clients or put a pooler in front, and then raise the limit."),
    _rule(RESOURCE, r"maximum context|context length|context.?window|contextoverflow|out_of_context|too many tokens|prompt is too long",
          "Show less per tool result, keep fewer turns, or use a model with a longer context."),
    _rule(RESOURCE, r"rate.?limit|\b429\b|too many requests|insufficient_quota|exceeded your (current )?quota|quota exceeded"
          r"|resourceexhausted|throttl|queue is full|over capacity",
          "Send fewer requests at once and wait as the server asks; raise the quota if that is not enough."),
    _rule(RESOURCE, r"no nvidia driver|no cuda (gpus|device)|cuda.{0,20}(is )?not available|cuda driver version is insufficient"
          r"|torch not compiled with cuda|device not found|no (gpu|tpu) |insufficient (cpu|memory|nvidia)",
          "Run it where the device is, or ask for the CPU; check the driver with nvidia-smi."),
    _rule(RESOURCE, r"payload too large|entity too large|\b413\b|exceeds the (maximum|limit)|message larger than max|file too large",
          "Send less at once, or raise the limit on the side that refuses."),
    # -- missing code
    _rule(IMPORT, r"modulenotfounderror|no module named '?(?P<name>[\w.]+)", "Install it: pip install {name}; and declare it as a dependency."),
    _rule(IMPORT, r"\bneeds \S+; run: (?P<name>pip install [^\n]+)", "Run: {name}"),
    _rule(IMPORT, r"cannot find (module|package)|module not found|can'?t resolve '|no required module provides|err_module_not_found"
          r"|could not resolve (dependency|\")|404 '[^']+' is not in this registry|npm err! (code )?e?404|failed to resolve import",
          "Add the package to the manifest and install again; if it is private, check the registry and its token."),
    _rule(IMPORT, r"undefined symbol|undefined reference|symbol not found|unresolved external|cannot find -l|ld returned"
          r"|linker command failed|error while loading shared libraries|cannot open shared object|library not loaded|dll load failed"
          r"|glibc(xx)?_[\d.]+' not found|unsatisfiedlinkerror",
          "Install the library, of the version that this was built against, or build it again here."),
    _rule(IMPORT, r"cannot import name|importerror|noclassdeffounderror|classnotfoundexception|nosuchmethoderror|nosuchfielderror"
          r"|no such module|unable to load class|could not load file or assembly|cannot load such file|uninitialized constant"
          r"|class '[^']+' not found|package [\w.]+ does not exist|unresolved import|can't find crate|no external crate"
          r"|could not find [`'][\w:]+[`'] in",
          "The version that is installed lacks this name: align the versions, or import it from where it is now."),
    _rule(IMPORT, r"resolutionimpossible|conflicting dependencies|no matching distribution|could not find a version that satisfies"
          r"|eresolve|unable to resolve dependency|version solving failed|failed to select a version|dependency conflict"
          r"|could not find artifact|could not resolve dependencies|unable to find a match|has no installation candidate"
          r"|unable to locate package",
          "Loosen or change the pin that conflicts, so that one version satisfies all; then lock it."),
    _rule(IMPORT, r"fatal error: [\w./+-]+\.h(pp)?: no such file|command not found|: not found$|executable file not found|is not recognized as an",
          "Install the tool or the development headers in the image, and check PATH."),
    # -- text that does not parse
    _rule(SYNTAX, r"jsondecodeerror[^\n]*config|cannot read config|error parsing config|failed to parse config",
          "Mend the configuration file at the place named."),
    _rule(SYNTAX, r"syntaxerror|syntax error|indentationerror|taberror|unexpected (token|indent|end of|eof|symbol|keyword)|parse error"
          r"|parsererror|scannererror|yaml\.|templatesyntaxerror|tomldecodeerror|error parsing|unterminated string|unbalanced"
          r"|unmatched|missing (closing|semicolon|parenthes)|unexpected \"|unexpected '[^'\w]"
          r"|configuration file [^\n]* test failed|invalid workflow file syntax|while parsing a",
          "Mend the text at the place named; a linter or `--check` before the commit finds this."),
    _rule(SYNTAX, r"error ts\d+|error\[e\d+\]|compilation (error|failure|failed)|could not compile|\.(c|cc|cpp|h|hpp|rs|swift|kt|scala|cs):"
          r"[^\n]{0,20}error|\berror: expected|expected (one of|';'|an? expression|expression)|incompatible types|mismatched types"
          r"|\.go:\d+:\d+: (undefined|cannot use|syntax)|error cs\d+|error: cannot find symbol|declared (and|but) not used|\.java:[^\n]* error:",
          "Mend the source at the place named, and compile before the commit."),
    # -- refused data and settings
    _rule(VALIDATION, r"validationerror|validation error|validation failed|constraintviolation|unprocessable|schemaerror|\b422\b"
          r"|missingfields|field required|required (property|value|field|argument)|is a required|input should be|jsonschema"
          r"|invalid_report|bad_arguments|invalid schema|invalid_request_error|additional properties|does not conform",
          "Correct the value that is refused, or the schema when the value is right; test both."),
    _rule(VALIDATION, r"invalid (configuration|value|choice|option|argument|int value|workflow|config|type)"
          r"|is invalid:|is not valid|error: argument |unrecognized (arguments|configuration)|unknown (option|flag|argument|field|key)"
          r"|must be (between|at least|at most|one of|positive|set|a |an |greater|less)|does not match the|unexpected value '"
          r"|unsupported value|illegal value|not a valid|misconfigur|\bat least \d|missing required|environment variable|status=78/config",
          "Correct the setting named and start it again."),
    _rule(VALIDATION, r"keyerror: '[A-Z][A-Z0-9_]{3,}'", "Set this environment variable."),
    _rule(VALIDATION, r"invalid literal for|jsondecodeerror|could not convert string|unicodedecodeerror|invalid date|invalid format"
          r"|numberformatexception|datetimeparseexception|malformed (json|input|request|call)|malformed_call|cannot deserialize"
          r"|cannot unmarshal|invalid character '",
          "Find the record that does not fit and check it where it enters."),
    # -- time
    _rule(TIMEOUT, r"time[d]?[\s-]?out|timeouterror|deadline|exceeded the maximum execution time|execution took longer|took longer than"
          r"|no reply within|not ready within|not found within|timeoutexception|gave up after [\d.]+ ?s|etimedout|lock wait"
          r"|canceling statement due to|job was cancell?ed after|exceeded timeout|maximum (execution )?time|watchdog",
          "Find what it waited for; raise the limit only if the work is that long, else mend what hangs."),
    _rule(VALIDATION, r"configurationerror|scenarioerror|configuration error", "Correct the setting named and start it again."),
    # -- wrong results
    _rule(RUNTIME, r"shapes? (cannot|mismatch)|size mismatch|same device|dtype", "Print shapes, dtypes and devices before the line named."),
    _rule(LOGIC, r"assertionerror|assertionfailed|assertion [`'\"]|assertion failed|assert\w*\.|^e?\s*assert |comparisonfailure|expect\(|tobe\(|toequal"
          r"|expected:? ?<|expected[^\n]{0,120}\b(but|got|received|actual|to (equal|be|have|match|contain))\b"
          r"|want(ed)? [^\n]*\bgot\b|got [^\n]*,? ?want|falsifying example|snapshot [^\n]*(mismatch|obsolete|does not match)|mismatch(ed)?\b"
          r"|lists differ|--- fail:|do(es)? not (add up|reconcile)|invariant|below the bar|inconsistent|counted twice|wrong (answer|result)"
          r"|a distractor scores|regression (of|in) |accuracy [\d.]+",
          "Compare what was expected with what came out, and decide which of the two is right before changing either."),
    # -- everything else that has a name
    _rule(RUNTIME, r"401|403|permission denied|access denied|accessdenied|unauthori[sz]ed|forbidden|nocredentials|invalid api key"
          r"|could not read username|requested access to the resource is denied|authentication failed|permissionerror",
          "Check the credentials and what they may do."),
    _rule(RUNTIME, r"connection ?(refused|reset|error|aborted)|remotedisconnected|econnrefused|econnreset|name or service not known"
          r"|temporary failure in name resolution|could not resolve host|no route to host|\b50[0234]\b|bad gateway|service unavailable"
          r"|broken pipe|connecterror|tls handshake|certificate",
          "Check that the other side is up and reachable from here; retry what may be retried."),
    _rule(RUNTIME, r"corrupt|malformed|headertoolarge|failed reading zip archive|checksum|not a database|truncated|unexpected end of (file|data)",
          "Restore the file from a good copy, find out what wrote it, and write through a temporary file and a rename."),
    _rule(RUNTIME, r"filenotfounderror|no such file|enoent|nosuchkey|404\s+not found",
          "Check the path and that the step which makes the file ran before."),
    _rule(RUNTIME, r"illegal memory access|device-side assert|segmentation fault|sigsegv|sigabrt|core dumped|stack smashing|bus error",
          "Run it again under a debugger (CUDA: CUDA_LAUNCH_BLOCKING=1) and look at the frame that crashed."),
    _rule(RUNTIME, r"deadlock found|could not serialize access|serialization failure", "Retry the transaction, and take locks in one order."),
    _rule(RUNTIME, r"nonetype|nullpointer|nullreference|nil pointer|cannot read propert|undefined|keyerror|indexerror|index out of range",
          "Handle the missing value at the line named, and find out why it is missing."),
    _rule(RUNTIME, r"deprecat", "Move to what the warning names before the next upgrade."),
    _rule(RUNTIME, r"\w*(error|exception|panic|failure|failed|fatal)\b", "Read the frame named; reproduce it with the smallest input."),
)  # fmt: skip

_LOOKS_LIKE_ERROR = re.compile(
    r"error|exception|fatal|panic|fail|traceback|critical|\bE  |killed|abort|cannot|denied|refused|timed? ?out|invalid|unexpected",
    re.IGNORECASE,
)
_PLACES = (
    re.compile(r'File "(?P<file>[^"\n]{1,300})", line (?P<line>\d+)'),
    re.compile(r"-->\s*(?P<file>[^\s:]{1,300}):(?P<line>\d+)"),
    re.compile(r"\((?P<file>[\w$-]{1,100}\.(?:java|kt|scala)):(?P<line>\d+)\)"),
    re.compile(r"(?P<file>[\w./\\@-]{1,300}\.(?:py|c|cc|cpp|h|rs|go|ts|tsx|js|jsx|java|cs|rb|sh|ya?ml|toml|json|sql|tf|conf))[:(\[](?P<line>\d+)"),
)  # fmt: skip
_LIBRARY = re.compile(r"site-packages|node_modules|/usr/lib|/usr/local/(lib|go)|dist-packages|<frozen|internal/modules")


def analyze(experiment_type: str, error_message: str, logs: str, why: str) -> FailureAnalysis:
    """What the rules say; `why` is the reason that they and no model were asked. Never fails: unknown is a runtime error."""
    logs = logs[-LOG_CHARACTERS:]
    rule, found = _first(error_message, logs)
    category, fix = (
        (rule.category, _fix(rule, found))
        if rule
        else (RUNTIME, "Read the log before the last line; run it again with more logging.")
    )
    return FailureAnalysis(
        failure_category=category,
        root_cause=cause(error_message, logs),
        fix_suggestion=fix,
        severity=severity(category, experiment_type, error_message, logs),
        method="rules",
        why_method=why,
    )


def _first(error_message: str, logs: str) -> tuple[Rule | None, re.Match[str] | None]:
    """The rule that speaks first, where it should be heard first."""
    suspicious = [line for line in logs.splitlines() if _LOOKS_LIKE_ERROR.search(line)]
    telling, last = RULES[:-1], RULES[-1:]
    texts = (
        (error_message, telling),
        *((line, telling) for line in reversed(suspicious)),
        (logs, telling),
        (error_message, last),
    )
    for text, rules in texts:
        for rule in rules:
            if found := rule.pattern.search(text):
                return rule, found
    return None, None


def _fix(rule: Rule, found: re.Match[str] | None) -> str:
    name = (found.groupdict().get("name") or "") if found else ""
    return rule.fix.replace("{name}", name or "the missing name")


def cause(error_message: str, logs: str) -> str:
    """The sentence that says most: the error's last telling line, and where in our own code it happened."""
    lines = [line.strip() for line in error_message.splitlines() if line.strip()]
    if not lines:
        lines = [line.strip() for line in logs.splitlines() if _LOOKS_LIKE_ERROR.search(line)][-1:] or [
            "no error message was given"
        ]
    said = lines[0] if not lines[0].startswith("Traceback") else lines[-1]
    place = where(logs) or where(error_message)
    return (said[:CAUSE_CHARACTERS] + (f" (at {place})" if place and place not in said else "")).strip()


def where(text: str) -> str:
    """`file:line` of the last place named that is not in a library; empty when none is."""
    for pattern in _PLACES:
        places = [found for found in pattern.finditer(text) if not _LIBRARY.search(found["file"])]
        if places:
            return f"{places[-1]['file']}:{places[-1]['line']}"
    return ""
