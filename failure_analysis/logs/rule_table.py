"""The pattern rules of `rules`: what a text looks like, the category it means, and what to do. Data, in the
order of asking.

Written from the `rules` part of labelled_failures.jsonl and from what compilers, interpreters and clients are
known to print.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from failure_analysis.records import FailureCategory

SYNTAX, IMPORT, VALIDATION, RUNTIME, TIMEOUT, RESOURCE, LOGIC = FailureCategory


class Rule(NamedTuple):
    """One pattern and what it means. `fix` may use the pattern's named group."""

    category: FailureCategory
    pattern: re.Pattern[str]
    fix: str


def _rule(category: FailureCategory, pattern: str, fix: str) -> Rule:
    return Rule(category, re.compile(pattern, re.IGNORECASE | re.MULTILINE), fix)


def _answered(status: int) -> str:
    """A pattern for an HTTP status where it is one: a number alone may count rows or name a step."""
    return (
        rf"(\bhttp(/[\d.]+)?|status(.?code)?|(?<![a-z])code)\W{{0,3}}{status}\b"
        r"|(error|failed|exhausted|answer\w*|return\w*|respon\w*|\bgot|received|gave|attempt \d+( of \d+)?)"
        rf"\W{{1,3}}(with |by )?{status}\b"
        r"(?!\s\w+s\b| ?ms\b|[/%])"
        rf"|\b(get|post|put|patch|delete|head) \S{{1,300}} (http/[\d.]+ )?{status}\b|\b{status} client error"
    )


RULES: tuple[Rule, ...] = (
    # -- code that a sandbox refuses before it runs, and a result that was not kept
    _rule(
        VALIDATION,
        r"forbidden (import|module|library|attribute|call|function|builtin"
        r"|name)s?\b( from)?:? ?(?P<name>[\w., ]{1,200})?"
        r"|(import|module|library|attribute)s? [\w.'\"` ]{0,60}(is|are) (forbidden|not (allowed|permitted))",
        "Use only allowed libraries and calls: leave out {name}, or have it allowed.",
    ),
    _rule(
        LOGIC,
        r"\b(not|no) better than|(did not|does not|didn't) (improve|beat)|no improvement over"
        r"|worse than (the )?(baseline|best)",
        "Nothing is broken: it was no improvement. Change the idea, or look at where it loses against what "
        "it was compared with.",
    ),
    # -- a loss or a policy that is lost: the words "runtime error" around it say nothing
    _rule(
        LOGIC,
        r"\b(loss|reward|grad\w*|gradient( norm)?|perplexity)\b[^\n]{0,40}\b(nan|inf|not finite|diverged)\b"
        r"|\bdiverged\b|loss scale reached|loss is (probably )?exploding|gradient (overflow|explosion)"
        r"|reward collapse|\b(nan|inf)s?\b[^\n]{0,20}\b(in|detected|found|at step|logits|gradients?|loss"
        r"|reward)\b|\b(logits|weights|activations|advantages?|loss|gradients?)\b[^\n]{0,30}\b(nan|inf)s?\b",
        "Go back to the last good checkpoint, lower the learning rate or clip gradients, and check the data "
        "of that step.",
    ),
    # -- resources
    _rule(
        RESOURCE,
        r"cuda out of memory|outofmemoryerror: cuda|cublas_status_alloc_failed|hip out of memory"
        r"|mps backend out of memory",
        "Use a smaller batch or sequence, gradient checkpointing or a larger GPU; check that nothing else "
        "holds its memory.",
    ),
    _rule(
        RESOURCE,
        r"no space left|enospc|errno 28\b|disk quota exceeded|edquot|disk (is )?(almost )?full"
        r"|not enough (free )?disk|database or disk is full|disk usage exceeded|flood-stage|low disk"
        r"|disk space|no inodes|storage (is )?full|only \d+ mib are free|not enough space"
        r"|insufficient (free |disk )?space|out of (disk )?space|no free space|volume (is )?full"
        r"|(file ?system|device|partition|drive) (is )?full|could not extend (file|relation)"
        r"|espacio en (el )?dispositivo|disco lleno|sin espacio|kein speicherplatz"
        r"|speicherplatz (ist )?(erschöpft|voll|aufgebraucht)|nicht gen(ug|ügend) (speicher)?platz"
        r"|festplatte (ist )?voll|kein platz|aucun espace|plus d'espace|espace disque insuffisant"
        r"|disque plein|(ディスク|デバイス).{0,8}(空き|一杯|いっぱい|不足)|空き(領域|容量).{0,4}(ありません|不足)"
        r"|(磁盘|设备|硬盘).{0,6}(空间不足|没有空间|已满)|空间不足",
        "Free space on the volume or point the output elsewhere; then run it again, and add an alert on free "
        "space.",
    ),
    _rule(
        RESOURCE,
        r"java\.lang\.outofmemoryerror|heap out of memory|heap limit|out of memory|oom[- ]?kill"
        r"|\bmemoryerror\b|cannot allocate memory|std::bad_alloc|signal: killed|killed signal|oom_reaper"
        r"|exit code 137|^killed$|alloc failed|memory size of \d+ bytes exhausted|exceed\w* (the )?memory"
        r"|memory (limit|quota) (was )?(exceeded|reached)|no available memory|'?maxmemory'?"
        r"|(out of|insufficient|not enough|low on) (shared |physical |virtual |gpu )?memory|\bevicted\b"
        r"|memoryexception|\bsigkill\b|exit ?code:? ?-9\b|signal 9\b"
        r"|(free|available) memory [^\n]{0,80}\b(less|lower|below)\b|exceeding memory limits"
        r"|memory cgroup out|memoria insuficiente|sin memoria"
        r"|(kein|nicht genug|nicht genügend|zu wenig) (haupt|arbeits)?speicher\b|speicher reicht nicht"
        r"|mémoire (insuffisante|épuisée)|メモリ.{0,4}(不足|足りません)|内存不足|无法分配内存",
        "Give the process more memory or make it use less: fewer workers, smaller batches, streaming instead "
        "of loading.",
    ),
    _rule(
        RESOURCE,
        r"too many open files|too many (processes|threads)|\bemfile\b|\benfile\b|errno 24\b",
        "Close files and sockets after use, or raise the limit (ulimit -n).",
    ),
    _rule(
        RESOURCE,
        r"address already in use|eaddrinuse|port is already allocated|errno 98\b",
        "Let the system choose the port (port 0), or stop what holds it.",
    ),
    _rule(
        RESOURCE,
        r"i/o error|read-only file system|remounting filesystem|blk_update_request|smart error|ecc error"
        r"|xid \d+",
        "Replace the device or move off the host; check the data that was being written.",
    ),
    _rule(
        RESOURCE,
        r"queuepool limit|too many (clients|connections)|connection slots"
        r"|connection pool (is )?(exhausted|full)|pool exhausted|unable to acquire connection"
        r"|resource temporarily unavailable|can't start new thread",
        "Return connections promptly, cap the number of clients or put a pooler in front, and then raise the "
        "limit.",
    ),
    _rule(
        RESOURCE,
        r"maximum context|context length|context.?window|contextoverflow|out_of_context|too many tokens"
        r"|prompt is too long",
        "Show less per tool result, keep fewer turns, or use a model with a longer context.",
    ),
    _rule(
        RESOURCE,
        rf"rate.?limit(?!_too_low)|{_answered(429)}|too many requests|insufficient_quota"
        r"|exceeded your (current )?quota|quota exceeded|resourceexhausted|throttl|queue is full"
        r"|over capacity",
        "Send fewer requests at once and wait as the server asks; raise the quota if that is not enough.",
    ),
    _rule(
        RESOURCE,
        r"no nvidia driver|no cuda (gpus|device)|cuda.{0,20}(is )?not available"
        r"|cuda driver version is insufficient|torch not compiled with cuda|device not found|no (gpu|tpu) "
        r"|insufficient (cpu|nvidia[\w./]*|capacity)|devices are busy or unavailable"
        r"|no (idle|available) (runner|executor|agent|node)s?|nodes are available",
        "Run it where the device is, or ask for the CPU; check the driver with nvidia-smi.",
    ),
    _rule(
        RESOURCE,
        rf"payload too large|entity too large|{_answered(413)}|exceeds the (maximum|limit)"
        r"|message larger than max|file too large",
        "Send less at once, or raise the limit on the side that refuses.",
    ),
    _rule(
        RUNTIME,
        r"(expected|same|mismatch\w*|unsupported|different|but (got|found)) [^\n]{0,60}"
        r"\b(dtype|scalar type|data type|c10::\w+|bfloat16|half)\b"
        r"|\b(dtype|scalar type)s? [^\n]{0,40}(mismatch|differ|expected|but (got|found))"
        r"|(half|bfloat16|float)tensor\b[^\n]{0,80}should be the same"
        r"|not implemented for '(half|bfloat16|float\w*)'",
        "Bring both sides to one dtype: .to(dtype) on the input, or autocast around the call; print both "
        "before the line.",
    ),
    # -- missing code
    _rule(
        IMPORT,
        r"(modulenotfounderror: )?no module named ['\"]?(?P<name>[\w.]+)|modulenotfounderror",
        "Install it: pip install {name}; and declare it as a dependency.",
    ),
    _rule(
        IMPORT,
        r"\bneeds \S+; run: (?P<name>pip install [^\n]+)",
        "Run: {name}",
    ),
    _rule(
        IMPORT,
        r"cannot find (module|package)|module not found|can'?t resolve '|no required module provides"
        r"|err_module_not_found|missing go\.sum entry|is not in (goroot|std)\b"
        r"|no matching versions for query|unknown revision|module \S+: (reading|not found|git ls-remote)"
        r"|no matching package named|failed to get `[^`]+` as a dependency|err_package_path_not_exported"
        r"|no matching version found for|\betarget\b|npm (err!|error) 404|no matching package to install"
        r"|nothing provides \S+ needed|failed build dependencies|no match for argument"
        r"|there is no package called|can't locate \S+ in @inc|could not find module|no such module"
        r"|target of uri doesn't exist|could not find (gem|a package configuration file)"
        r"|dependency \S+ not found|(falta|no se encuentra) el módulo|modul \S+ (wurde )?nicht gefunden"
        r"|module [^\n]{1,60} introuvable|モジュール.{0,30}見つかりません|找不到模块"
        r"|could not resolve (dependency|\"|all files for configuration|[\w.-]+:[\w.-]+:)"
        r"|could not find [\w.-]+:[\w.-]+:|404 '[^']+' is not in this registry|npm err! (code )?e?404"
        r"|failed to resolve import",
        "Add the package to the manifest and install again; if it is private, check the registry and its "
        "token.",
    ),
    _rule(
        IMPORT,
        r"undefined symbol|undefined reference|symbol not found|library not found for -l"
        r"|unable to find library|unresolved external|cannot find -l|ld returned"
        r"|linker command failed|error while loading shared libraries|cannot open shared object"
        r"|library not loaded|dll load failed|glibc(xx)?_[\d.]+' not found|unsatisfiedlinkerror",
        "Install the library, of the version that this was built against, or build it again here.",
    ),
    _rule(
        IMPORT,
        r"cannot import name|import\w*error|noclassdeffounderror|classnotfoundexception|nosuchmethoderror"
        r"|nosuchfielderror|no such module|unable to load class|could not load file or assembly"
        r"|cannot load such file|uninitialized constant|class '[^']+' not found"
        r"|package [\w.]+ does not exist|unresolved import|module '[\w.]+' has no attribute"
        r"|unsupportedclassversion|compiled (against|with|by) (a |an )?(different|newer|older|more recent)"
        r"|(abi|version) mismatch|can't find crate|no external crate|could not find [`'][\w:]+[`'] in"
        r"|use of undeclared crate|(wrong|bad) class (file|version)|has wrong version \d+(\.\d+)?, should be"
        r"|class file for \S+ not found",
        "The version that is installed lacks this name: align the versions, or import it from where it is "
        "now.",
    ),
    _rule(
        IMPORT,
        r"resolutionimpossible|conflicting dependencies|no matching distribution"
        r"|could not find a version that satisfies|eresolve|unable to resolve dependency"
        r"|version solving failed|failed to select a version|dependency conflict|could not find artifact"
        r"|could not resolve dependencies|could not find (compatible versions|gem)"
        r"|requires a different (python|node|ruby|version)|incompatible (python|node|version)"
        r"|requires (python|node|ruby|java) ?[<>=~^]|unmet (peer )?dependenc|conflicting peer"
        r"|unable to find a match|has no installation candidate|unable to locate package",
        "Loosen or change the pin that conflicts, so that one version satisfies all; then lock it.",
    ),
    _rule(
        IMPORT,
        r"fatal error: [\w./+-]+\.h(pp)?: no such file|command not found|: not found$"
        r"|executable file not found|is not recognized as an"
        r"|could not? find (package |module )?\w+[,(]? ?\(missing|no package '[^']+' found"
        r"|package [\w.+-]+ was not found",
        "Install the tool or the development headers in the image, and check PATH.",
    ),
    # -- text that does not parse
    _rule(
        SYNTAX,
        r"jsondecodeerror[^\n]*config|cannot read config|error parsing config|failed to parse config",
        "Mend the configuration file at the place named.",
    ),
    _rule(
        SYNTAX,
        r"syntaxerror|syntax error|indentationerror|taberror"
        r"|unexpected (token|indent|end of|eof|symbol|keyword)|parse error|parsererror|scannererror|yaml\."
        r"|templatesyntaxerror|tomldecodeerror|error parsing"
        r"|unterminated string|unbalanced|unmatched|missing (closing|semicolon|parenthes)|unexpected \""
        r"|unexpected '[^'\w]|error de sintaxis|syntaxfehler|erreur de syntaxe|構文エラー|语法错误"
        r"|(non-(parse?able|readable)|malformed) pom|not well-formed|mapping values are not allowed"
        r"|configuration file [^\n]* test failed|invalid workflow file syntax|while parsing a",
        "Mend the text at the place named; a linter or `--check` before the commit finds this.",
    ),
    _rule(
        SYNTAX,
        r"error ts\d+|error\[e\d+\]|compilation (error|failure|failed)|could not compile"
        r"|\.(c|cc|cpp|h|hpp|rs|swift|kt|scala|cs)(?![^\n]{0,200}\b(xct)?assert):[^\n]{0,20}error"
        r"|\berror: expected|expected (one of|';'|an? expression|expression)|incompatible types"
        r"|mismatched types|\.go:\d+:\d+: (undefined|cannot use|syntax)|error cs\d+"
        r"|error: cannot find symbol|declared (and|but) not used|\.java:[^\n]* error:"
        r"|cannot find '\w+' in scope|type mismatch|unresolved reference|\.py:\d+: error: "
        r"|found \d+ errors? in \d+ files? \(checked|has incompatible type|implicit declaration of function"
        r"|undeclared identifier|use of undeclared|was not declared in this scope"
        r"|no matching function for call|does not compile",
        "Mend the source at the place named, and compile before the commit.",
    ),
    # -- refused data and settings
    _rule(
        VALIDATION,
        rf"validationerror|validation error|validation failed|constraintviolation|unprocessable|schemaerror"
        rf"|{_answered(422)}"
        r"|missingfields|field required|required (property|value|field|argument)|is a required"
        r"|input should be|jsonschema|invalid_report|bad_arguments|invalid schema|invalid_request_error"
        r"|additional properties|does not conform|unrecognized (property|field|option|key)"
        r"|unrecognizedpropert|unknown (property|column|parameter)|got invalid value|cannot represent"
        r"|out of range for|no such column|(column|field|property) '?[\w.]+'? does not exist",
        "Correct the value that is refused, or the schema when the value is right; test both.",
    ),
    _rule(
        VALIDATION,
        r"invalid (configuration|value|choice|option|argument|int value|workflow|config|type)|is invalid:"
        r"|is not valid|error: argument |unrecognized (arguments|configuration)"
        r"|unknown (option|flag|argument|field|key)|must be (between|at least|at most|one of|positive|set|a "
        r"|an |greater|less)|does not match the|unexpected value '|unsupported value|illegal value"
        r"|not a valid|misconfigur|\bat least \d|missing required|environment variable|status=78/config"
        r"|unsupported (argument|option|setting)|is not expected here|batch related parameters"
        r"|must (all )?(have|match|equal|contain|start|end)|should be (one of|between|a |an )"
        r"|with other settings|not allowed here"
        r"|expected (type )?['\"<]?(str|string|int|integer|float|bool|list|dict|array|object|number|tuple"
        r"|bytes)\b|expected (a|an) (string|int|integer|number|float|bool|boolean|list|object|dict|array"
        r"|mapping)\b",
        "Correct the setting named and start it again.",
    ),
    _rule(
        VALIDATION,
        r"keyerror: '(?-i:[A-Z][A-Z0-9_]{3,})'",
        "Set this environment variable.",
    ),
    _rule(
        VALIDATION,
        r"invalid literal for|jsondecodeerror|could not convert string|unicodedecodeerror|invalid date"
        r"|invalid format|numberformatexception|datetimeparseexception|malformed (json|input|request|call)"
        r"|malformed_call|cannot deserialize|cannot unmarshal|invalid character '"
        r"|(?-i:\bMalformed[A-Z]\w+|\bInvalid(Request|Parameter|Argument|Input|Value)\w*:)"
        r"|\bhas invalid \w+",
        "Find the record that does not fit and check it where it enters.",
    ),
    # -- time
    _rule(
        TIMEOUT,
        r"time ran out before",
        "Nothing is broken: go on with --resume and a higher --max-minutes, or on a machine that is less "
        "busy.",
    ),
    _rule(
        TIMEOUT,
        r"time[d]?[\s-]?out|timeouterror|deadline|exceeded the maximum execution time|execution took longer"
        r"|took longer than|no reply within|not ready within|not found within|timeoutexception"
        r"|gave up after [\d.]+ ?s|etimedout|lock wait|canceling statement due to|job was cancell?ed after"
        r"|exceeded timeout|exceeded (the )?time limit|maximum (execution )?time|watchdog"
        r"|heartbeat (lost|missed|expired)|lease expired|unresponsive|\bhung\b|stuck (for|at)"
        r"|(\bnot|n't|\bnever|\bno)\b[^\n]{0,60}\b(within|in|after) \d[\d.,]{0,9} ?(ms|s|sec\w*|min\w*"
        r"|hours?|m|h)\b|(waited|waiting|still [\w ]{1,30}) (for |after )?\d[\d.,]{0,9} ?(ms|s|sec\w*|min\w*"
        r"|h\w*)\b|tiempo de espera (agotado|excedido)|zeitüberschreitung|zeitlimit"
        r"|délai [\w' ]{0,20}(dépassé|expiré)|タイムアウト|超时"
        r"|no (response|progress|output|event)[\w ]{0,20} (for |after )\d[\d.,]{0,9} ?(ms|s|sec\w*|min\w*"
        r"|h\w*)\b",
        "Find what it waited for; raise the limit only if the work is that long, else mend what hangs.",
    ),
    _rule(
        RUNTIME,
        r"connecterror|all connection attempts failed|no [\w ]{0,30}answers",
        "Check that the other side is up and reachable from here.",
    ),
    _rule(
        VALIDATION,
        r"configurationerror|scenarioerror|configuration error",
        "Correct the setting named and start it again.",
    ),
    _rule(
        RUNTIME,
        r"internal compiler error|please submit a (full )?bug report|unable to execute command: aborted",
        "This is the compiler's own crash: try another version of it, or change the code that provokes it.",
    ),
    _rule(
        VALIDATION,
        r"line too long|imported but unused|:\d+:\d+:? (?-i:[EFWCDNRUBSI])\d{3,4}\b"
        r"|\berror  .{1,200}  [\w@/-]+$|eslint|ruff|flake8|pylint|checkstyle"
        r"|would (be )?reformat(ted)?|prettier",
        "Run the linter or formatter locally and commit what it says.",
    ),
    # -- wrong results
    _rule(
        RUNTIME,
        r"shapes? (cannot|mismatch)|size mismatch|same device|dtype",
        "Print shapes, dtypes and devices before the line named.",
    ),
    _rule(
        LOGIC,
        r"assertionerror|assertionfailed|assertion [`'\"]|assertion failed|assert\w*\.|^e?\s*assert "
        r"|comparisonfailure|expect\(|tobe\(|toequal|expected:? ?<"
        r"|expected[^\n]{0,120}\b(but|got|received|actual|to (equal|be|have|match|contain))\b"
        r"|want(ed)? [^\n]*\bgot\b|got [^\n]*,? ?want|falsifying example"
        r"|snapshot [^\n]*(mismatch|obsolete|does not match)|mismatch(ed)?\b|lists differ|--- fail:"
        r"|do(es)? not (add up|reconcile)|invariant|below the bar|inconsistent|counted twice"
        r"|configured to fail if|failure/error: |expecting actual|xctassert|assert\w* failed|not equal\b"
        r"|is not equal to|expected (to|that|\w+ to)\b|expected [^\n]{1,80}(,| instead| found| not found)"
        r"|\d(\.\d+)? != -?\d|sanity check|duplicated? (charge|entr|record|order|message|payment)"
        r"|double[- ](count|charg|process)|off by (one|\d)"
        r"|(lower|less|fewer|higher|greater|more|worse) than (expected|allowed|the bar|the baseline|baseline"
        r"|before)|(under|below|above|over) (the )?(threshold|minimum|maximum|baseline|bar|tolerance"
        r"|\d+\.\d)|drift(ed)? (of|by|detected)|(incorrect|wrong|unexpected) (result|value|output|answer"
        r"|total|count|order|number|balance)|should (have been|equal|contain)|did not match|does not equal"
        r"|not reproducible|not deterministic|difference (of|too large)|wrong (answer|result)"
        r"|a distractor scores|regression (of|in) |accuracy [\d.]+",
        "Compare what was expected with what came out, and decide which of the two is right before changing "
        "either.",
    ),
    # -- everything else that has a name
    _rule(
        RUNTIME,
        r"(?<!line )(?<![:.\d#])\b40[13]\b|(acceso|permiso) denegado|zugriff verweigert|keine berechtigung"
        r"|permission (non accordée|refusée)|accès refusé|(アクセス|許可).{0,6}(拒否|ありません)"
        r"|(权限|访问)(不够|不足|被拒绝)|拒绝访问|not logged in|not accessible by|permission denied|access denied"
        r"|accessdenied|unauthori[sz]ed|forbidden|nocredentials|invalid api key|could not read username"
        r"|requested access to the resource is denied|authentication failed|permissionerror",
        "Check the credentials and what they may do.",
    ),
    _rule(
        RUNTIME,
        r"conexión (rechazada|reiniciada)|verbindung(saufbau)? (wurde )?(verweigert|abgelehnt|abgebrochen)"
        r"|connexion (refusée|interrompue)|接続.{0,6}拒否|拒绝连接|连接被?拒绝"
        r"|connection ?(refused|reset|error|aborted)|remotedisconnected|econnrefused|econnreset"
        r"|name or service not known|temporary failure in name resolution|could not resolve host"
        r"|no route to host|\b50[0234]\b|bad gateway|service unavailable|broken pipe|connecterror"
        r"|tls handshake|certificate|unreachable|imagepull|failed to pull|no [\w ]{0,30}answers"
        r"|all connection attempts failed|\brpc failed|early eof",
        "Check that the other side is up and reachable from here; retry what may be retried.",
    ),
    _rule(
        RUNTIME,
        r"corrupt|malformed|headertoolarge|failed reading zip archive|checksum|not a database|truncated"
        r"|unexpected end of (file|data)|page corruption|bad magic|crc (error|mismatch)",
        "Restore the file from a good copy, find out what wrote it, and write through a temporary file and a "
        "rename.",
    ),
    _rule(
        RUNTIME,
        r"no existe (el|la) (archivo|fichero|carpeta)|datei oder verzeichnis nicht|aucun fichier ou dossier"
        r"|introuvable|(ファイル|ディレクトリ).{0,10}(ありません|見つかりません)|没有那个文件|找不到(文件|指定的)"
        r"|filenotfounderror|no such file|enoent|nosuchkey|404\s+not found|does not appear to have a file"
        r"|(dataset|model|repository|bucket|table|fixture) '[^']+' (not found|doesn't exist)",
        "Check the path and that the step which makes the file ran before.",
    ),
    _rule(
        RUNTIME,
        r"illegal memory access|device-side assert|segmentation fault|sigsegv|sigabrt|core dumped"
        r"|stack smashing|bus error",
        "Run it again under a debugger (CUDA: CUDA_LAUNCH_BLOCKING=1) and look at the frame that crashed.",
    ),
    _rule(
        RUNTIME,
        r"deadlock found|could not serialize access|serialization failure",
        "Retry the transaction, and take locks in one order.",
    ),
    _rule(
        RUNTIME,
        r"nonetype|nullpointer|nullreference|nil pointer|cannot read propert|undefined|keyerror|indexerror"
        r"|index out of range",
        "Handle the missing value at the line named, and find out why it is missing.",
    ),
    # -- what the name of an exception says
    _rule(
        RESOURCE,
        r"\b\w*(memory|quota|capacity|exhausted|diskfull|toomany)\w*(error|exception)\b",
        "Find out what ran out, and give more of it or use less.",
    ),
    _rule(
        SYNTAX,
        r"\b\w*(parse|parsing|parser|compile|compilation|compiler|lexer|template)\w*(error|exception)\b",
        "Mend the text at the place named.",
    ),
    _rule(
        IMPORT,
        r"\b\w*(import|dependency|classloading|linkage|packagenotfound)\w*(error|exception)\b",
        "Install what is missing, or align the versions.",
    ),
    _rule(
        VALIDATION,
        r"\b\w*(validation|schema|argument|parameter|config\w*|format|constraint|mapping|serializ\w*"
        r"|decod\w*|encod\w*|analysis)(error|exception)\b|\bvalueerror\b"
        r"|\b(scenario|episodes|settings)error\b",
        "Correct the value that is refused, or where it comes from.",
    ),
    _rule(
        RUNTIME,
        r"\b(attribute|type|name|zerodivision|arithmetic|index|key|recursion|notimplemented|integrity"
        r"|operational)(error|exception)\b|\b(lookup|overflow|unboundlocal|illegalstate|invalidoperation"
        r"|unsupportedoperation)(error|exception)\b|\b(concurrentmodification|classcast|indexoutofbounds"
        r"|nosuchelement|reference|range|stackoverflow)(error|exception)\b|badzipfile|stopiteration"
        r"|\buncaught\b|\bunhandled\b",
        "Read the frame named; reproduce it with the smallest input.",
    ),
    _rule(
        RUNTIME,
        r"deprecat",
        "Move to what the warning names before the next upgrade.",
    ),
    _rule(
        RUNTIME,
        r"\w*(error|exception|panic|failure|failed|fatal)\b",
        "Read the frame named; reproduce it with the smallest input.",
    ),
)
DISK_FULL = next(rule for rule in RULES if rule.pattern.search("no space left on device"))
