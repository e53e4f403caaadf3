"""How lines of logs look: what says that something failed, what says why, and what says nothing. Data.

Runners and build tools print much around every failure, whatever its reason. A line of NOISE is never the
cause. One that matches FAILED says only that something failed. `suspects` decides between the others.
"""

from __future__ import annotations

import re


def any_of(*patterns: str, flags: re.RegexFlag = re.IGNORECASE) -> re.Pattern[str]:
    """One pattern for several; letter case does not matter unless `flags` say so."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), flags)


PASSED = any_of(
    r"^finished: success\b",
    r"\bbuild success(ful)?\b",
    r"^job succeeded",
    r"your build exited with 0\b",
    r"(exited|finished|completed) with (exit )?(code|status) 0\b",
    r"^(info: )?done\(.{1,300}\) config\(",
)
"""A runner says that all is well; nothing that came before has stopped it."""
TOOL_PASSED = any_of(
    r"^=+ (?=.*\b\d+ passed)(?!.*\b[1-9]\d* (failed|errors?)\b).* in [\d.]+ ?s.* =+$",
    r"^\d+ passed(, \d+ (skipped|deselected|xfailed|xpassed|warnings?))* in [\d.]+ ?s",
    r"^test result: ok\.",
    r"^all (tests|checks) (have )?passed",
    r"^ok( \(.{1,80}\))?$|^ok\s+\t?\S+\t[\d.]+s$|^PASS$",
    r"^# fail 0$|^ℹ fail 0$|^\d+ passing \(",
    r"^success: no issues found|^100% tests passed",
    r"^tests:\s+(\d+ skipped, )?\d+ passed, \d+ total$|^\d+ examples?, 0 failures",
    r"^apply complete!|^build succeeded\.?$|^\*\* build succeeded \*\*$|^successfully (built|tagged) ",
    r"^\S+ +: ok=\d+ .*unreachable=0 +failed=0\b",
)
"""One tool says that all is well; another may have failed."""
FAILED = any_of(
    r"^finished: (failure|unstable|aborted)\b",
    r"\bbuild fail(ed|ure)\b",
    r"process completed with exit code [1-9]",
    r"your build exited with [1-9]",
    r"the command .{1,500} (exited with|failed and exited with) [1-9]",
    r"^(error: )?job failed\b",
    r"exit (status|code):? [1-9]\d*\.?$",
    r"exited with (code )?[1-9]\d*\.?$",
    r"marked build as failure",
    r"^g?make(\[\d+\])?: (\*\*\* |.* error \d+$)",
    r"^ninja: build stopped",
    r"failed to execute goal ",
    r"^(npm|pnpm|yarn) ?(err!|error)? .*(elifecycle|exit status|command failed|lifecycle script|errno)",
    r"^(error )?command (failed|execution failed) with exit code",
    r"^(error: )?command failed:",
    r"^child return code was: [1-9]",
    r"did not complete successfully: exit code",
    r"returned a non-zero code",
    r"^=+ .*\b\d+ (failed|errors?)\b.* in [\d.]+ ?s.* =+$",
    r"^!+ interrupted: \d+ error",
    r"^(FAILED|ERROR) \S+$",
    r"^.{1,200} > .{1,200} failed$",
    r"^> task .{1,200} failed$",
    r"^test result: failed|^\s*not ok \d",
    r"^error: (test failed|could not compile)",
    r"^FAIL\b(?!.*:.*\w)",
    r"^(failed tests?:|tests? failed|failed)$",
    r"^rpm build errors:",
    r"bad exit status",
    r"^error: (aborting due to|build failed|process didn't exit)",
    r"^\d+ errors? generated",
    r"^compilation (error|failure) ?:?$",
    r"\btests run: .*(failures|errors): [1-9]",
    r"there (are|were|was) (test )?(failures?|failing tests)",
    r"^(error: )?(subprocess-exited-with-error|metadata-generation-failed)",
    r"^× ",
    r"execution failed for task",
    r"(compilation|build) failed; see",
    r"^(build )?completed unsuccessfully",
    r"job aborted due to stage failure",
    r"childfailederror:$",
    r"^finished with errors?",
    r"\b\d+ tests? completed, \d+ failed",
)
"""The verdicts and the summaries: something failed, and the reason is said elsewhere."""
DETAILED = any_of(
    r"failed to execute goal .{0,300}\bon project [\w.-]+: \S",
    r"^g?make(\[\d+\])?: \*\*\* (no rule to make target|missing separator|.{0,60}\brecipe commences)",
)
"""A verdict that also says why."""
NOISE = any_of(
    r"^(-> )?\[help \d+\]",
    r"^to see the full stack trace|^re-run maven using|^for more information about the errors",
    r"^after correcting the problems, you can resume|^mvn <goals>",
    r"^[-=*_#~]{5,}$",
    r"^_{3,} .* _{3,}$|^-{3,} captured .* -{3,}$",
    r"^\* (try|get more help|what went wrong)|^> (run with|get more help)"
    r"|^run with --(stacktrace|info|debug|scan)",
    r"^\[(ws-cleanup|checks api|discover)\]",
    r"^sending e-?mails? to|^archiving artifacts|^recording (test results|fingerprints)",
    r"^error: step .{1,200} failed:|no test report files were found",
    r"^(npm|pnpm) (err!|error)\s{0,8}$|a complete log of this run can be found"
    r"|^npm (err!|error)\s{1,8}/.*debug",
    r"^npm (err!|error) (this is probably not a problem with npm|there is likely additional)",
    r"^note: this error originates from a subprocess|^\[end of output\]|see above for output",
    r"^(usage|hint|note):",
    r"^\+{1,3} \S|^\$ \S|^\[command\]",
    r"^post job cleanup|^(##\[group\])?post run |cleaning up (orphan|project)|^uploading artifacts"
    r"|^\[pipeline\] //",
    r"node\.js \d+ actions",
    r"^the operation was canceled",
    r"^traceback|^during handling of the above exception|^the above exception was the direct cause",
    r"^\s*at |^\s*\.\.\. \d+ (more|common frames)|^\s*File \"",
    r"^E\s{2,}(\+|-|\?|at |where |In |Use -v|Full diff|\.\.\.)",
    r"^(detailed|full) (log|output)|^see (the )?(log|report|http)|there were errors? while",
    r"^(error|failure) (summary|log|report|messages?):?$",
    r"^(error: )?exception\(.{1,300}\) config\(|^copr build error: build failed|^exception: \[error\(",
)
CLEAN_UP = any_of(
    r"marked build as failure",
    r"^post job cleanup",
    r"^(##\[group\])?post run ",
    r"^cleaning up project directory",
    r"^error: job failed",
    r"^uploading artifacts for failed job",
    r"^\[pipeline\] end of pipeline",
    r"^(\$ )?after_(failure|script)\b",
)
"""From here on a runner tidies up; what fails now is not why the build failed."""
STEP = any_of(
    r"^##\[group\](?!post )|^::group::",
    r"^run \S",
    r"^\[pipeline\] (sh|bat|powershell|stage|\{ \()",
    r"^(\[[\w. -]{1,80}\] )?[$+] \S",
    r"^-{3} [\w.-]+:[\w.-]+(:\S+)? .{0,200}-{3}$",
    r"^(building|reactor) .{1,200}\[\d+/\d+\]",
    r"^step \d+/\d+ ?:|^#\d+ \[",
    r"^> task :|^:\w[\w:-]*$",
    r"^section_start:|^travis_fold:start",
    r"^(task|play|handler) \[",
    r"^==> ",
    r"^g?make(\[\d+\])?: entering directory",
    r"^executing\(%\w+\)|^start: ",
    r"^t e s t s$|^=+ test session starts =+",
    r"^executing .{1,200}\.\.\.$",
)
"""Where a step of a build begins."""
_EXCEPTION = (
    r"(?:[a-zA-Z_$][\w$]{0,60}[.:]{1,2}){0,10}[A-Z]\w{0,80}"
    r"(?:Error|Exception|Exit|Interrupt|Panic|Failure|Violation|Timeout|Shutdown|Fault|Mismatch)"
)
RAISED = re.compile(rf"^\s{{0,12}}{_EXCEPTION}(?:: |:?$| at [\w$.]+:\d+)")
"""An exception as it is printed last, with or without its text."""
STRONG = any_of(
    r"^\s{0,12}" + _EXCEPTION + r"(?:: |:?$| at [\w$.]+:\d+)",
    r"^\s{0,12}(at )?[\w./\\@+-]{1,300}:\d+(:\d+)?: " + _EXCEPTION + r"(?:: |:?$)",
    r"^[\w./\\@+-]{1,300}:\d+:in .{1,300} \(" + _EXCEPTION + r"\)$",
    r"^E\s{2,8}(?!\+|-|\?|at |where )\S",
    r"^(FAILED|ERROR) \S+(::\S+)? - \S",
    r"^(Caused( by)?: |Exception in thread|Unhandled|Uncaught|terminate called|panic:|fatal:)",
    r"^thread '.{0,200}' (\(\d+\) )?panicked",
    r"^\s{0,8}(what\(\)|OSError|ERROR|FATAL|Error|error|fatal|FATAL ERROR|CRITICAL|Fehler|Erreur)"
    r"(\[[\w-]{1,40}\])?( [A-Z]{1,4}\d{2,5})? ?: \S",
    r"^[\w./\\@+-]{1,300}(:\d+|\(\d+|\[\d+)[\d:,.)\]]{0,20}:? ?(fatal )?error\b",
    r"^[\w./\\@+-]{1,200}: ((fatal )?error|undefined reference|cannot find|command not found|not found)\b",
    r"^[\w./\\@+-]{1,200}: line \d+: ",
    r"^\S{1,300}\.go:\d+(:\d+)?: \S",
    r"^[\w./\\@+-]{1,300}\.(py|rb|pl|php|lua|sh):\d+(:\d+)?: .*(error|undefined|unexpected)",
    r"^E: \S|^N: unable|^--- FAIL: |^\s{0,6}[●✕✗✖] ",
    r"^[\w./\\@+-]{1,300}:\d+:\d+:? [A-Z]{1,5}\d{2,4}\b",
    r"<<< (FAILURE|ERROR)!",
    r"^npm (ERR!|error) (?!code E?LIFECYCLE)\S",
    r"^Error$|\bfatal error\b|^fatal: \[|^\s{0,8}[╷│]? ?Error: ",
    r"^ERR_|^SyntaxError\b|error\[E\d+\]|\berror (TS|CS|MSB|NU|LNK|C)\d{3,5}\b",
    r"^collect2: error|^(/usr/bin/)?ld: |^(/bin/)?(ba|da|z)?sh: |^configure: error|^CMake Error",
    r"^(curl|wget|tar|cp|mv|rm|ssh|scp|rsync|git|docker|rm|mkdir|gzip|unzip|install): .{0,200}"
    r"([Dd]enied|[Rr]efused|[Nn]o such|[Cc]annot|[Cc]ould not|[Cc]ouldn't|[Ff]ailed|[Ii]nvalid|[Ee]rror)",
    r"Segmentation fault|core dumped|^Killed$|^Aborted$|Bus error|Illegal instruction",
    flags=re.NOFLAG,
)
"""An error by its form."""
PHRASE = any_of(
    r"out of memory|cannot allocate memory|(insufficient|not enough) (memory|disk|space)|memory cgroup out",
    r"(free|available) memory .{0,80}\b(less|lower|below)",
    r"no space left|disk (is )?full|disk quota exceeded|read-only file ?system|not enough space|disk full",
    r"oom-?kill|\bkilled process\b|signal: killed|\bsigkill\b|exitcode: -9|container killed",
    r"i/o error|input/output error|too many open files|address already in use",
    r"(connection|permission|access) (is )?(denied|refused)|connection (reset|aborted|timed out)",
    r"no route to host|network is unreachable|could not resolve host|name or service not known",
    r"temporary failure in name|host key verification failed|authentication fail",
    r"no such file or directory|command not found|cannot open shared object|undefined symbol",
    r"certificate (verif\w+ failed|has expired)|deadline exceeded|(operation|request|read|lock)\w* timed out",
    r"handshake timeout|exceeded (the |its )?(maximum |job )?(time limit|execution time|allowed time)",
    r"\btimed out (after|waiting)|timeout (expired|exceeded|waiting)|\bhas timed out",
    r"stack (overflow|smashing)|double free|divi(de|sion) by zero|deadlock (detected|found)",
    r"\bcorrupt(ed|ion)\b|checksum (mismatch|error|failed)",
    r"quota exceeded|rate limit (exceeded|reached)|too many ?requests",
    r"no (cuda|nvidia) |cuda error|ecc error|device-side assert|illegal memory access",
    r"nan (loss|detected)|loss (is|became|=|:) ?nan|must be the same (type|dtype)|same dtype",
    r"expected .{1,40}\bbut (got|found)\b|does not exist|has no attribute|syntax error",
    r"crashloopbackoff|imagepullbackoff|errimagepull|oomkilled|failedscheduling|nodes are available",
    r"std::bad_alloc|\beconn(refused|reset|aborted)\b|\be(addrinuse|nospc|mfile|acces|perm|timedout)\b"
    r"|broken pipe",
    r"(device or )?resource busy|(i/o|read|write|connect\w*) timeout|malformed$",
    r"certificate signed by unknown|certificate_verify_failed",
    r"^(http(/[\d.]+)? )?[45]\d\d [A-Z][a-z]+( [A-Za-z]+){0,3}\.?$"
    r"|^(timeout|terminated|evicted|timed out)\.?$",
    r"undefined reference to|no kernel image is available|no such (table|column|module|host|container)",
    r"forbidden (import|module|library|attribute|call|function)|\bnot better than\b",
    r"no rule to make target|unexpected end of|\bsyntax ?error",
    r"can't locate \S+ in @inc|no matching package|nothing provides|failed build dependencies"
    r"|missing go\.sum entry",
    r"no required module provides package|cannot find module providing package",
    # Spanish
    r"espacio en (el )?dispositivo|(conexión|acceso|permiso) (rechazad|denegad)\w|tiempo de espera",
    r"no se (pudo|puede|encuentra|encontró|ha podido)|no existe (el|la|un)|falta (el|la|un)"
    r"|error de sintaxis",
    r"memoria insuficiente|sin memoria|disco lleno",
    # German
    r"kein speicherplatz|speicherplatz (ist )?(erschöpft|voll|aufgebraucht)",
    r"(kein|nicht genug|zu wenig) (speicher|platz)|nicht genügend \w*speicher",
    r"verbindung(saufbau)? (wurde )?(verweigert|abgelehnt|abgebrochen)|zugriff verweigert|zeitüberschreitung",
    r"syntaxfehler|datei oder verzeichnis nicht|keine berechtigung|nicht gefunden|festplatte (ist )?voll",
    # French
    r"(aucun|plus d[e']) ?espace|espace (disque )?insuffisant|mémoire (insuffisante|épuisée)|disque plein",
    r"connexion (refusée|interrompue)|accès refusé|permission (non accordée|refusée)",
    r"délai (d[e'] ?attente |imparti )?(dépassé|expiré)|introuvable|aucun fichier|erreur de syntaxe",
    # Japanese
    r"(空き|ディスク)(領域|容量).{0,3}(ありません|不足)|メモリ.{0,3}(不足|足りません)|空き領域がありません",
    r"(ファイル|ディレクトリ).{0,10}ありません|構文エラー|接続.{0,6}拒否|(アクセス|許可).{0,4}(拒否|ありません)|タイムアウト|見つかりません"
    r"|ディスク.{0,6}(一杯|いっぱい)",
    # Chinese
    r"(磁盘|设备|空间).{0,6}(空间不足|没有空间|已满|不足)|内存不足|无法分配内存|拒绝连接|连接被?拒绝",
    r"(权限|访问)(不够|不足|被拒绝)|拒绝访问|(连接|请求|操作)?超时|找不到|没有那个文件|无法找到|不存在|语法错误",
)
"""What is always a trouble, also where nobody calls it an error."""
SOFT = any_of(
    r"unable to (locate|find|resolve|connect|open)",
    r"could not (find|open|connect|resolve|read|load)",
    r"cannot (find|open|connect|load|import|access)",
)
"""What is a trouble unless it is only a warning."""
WEAK = any_of(
    r"(?<![\w./-])(errors?|failed|failures?|failing|fatal|exception|abort(ed|ing)?|panic(ked)?|crash(ed)?"
    r"|invalid|denied|refused|unexpected|cannot|can't|could not|unable to|killed|unhandled|rejected|timed out"
    r"|fehler|fehlgeschlagen|échec|échoué|erreur|fallo|falló)"
    r"(?![\w-]*\.\w|[\w/-]| (handl|report|track|pag|log|cod|rate|budget|message|count)\w*)",
    r"失敗|エラー|失败|错误|异常",
)
ZERO = any_of(
    r"\b(0|no|zero|without( any)?) (new )?(errors?|failures?|failed|failing|exceptions?|problems?|warnings?"
    r"|crashe[sd]|timeouts?)( tests?)?\b",
    r"\b0 tests? failed\b",
    r"\b(check|scan|look|test|watch|search)\w* for (\w+ )?(errors?|failures?|problems?)\b",
    r"\b0 error\(s\)",
    r"\b(errors?|failures?|failed|exceptions?|skipped|aborted|dropped|timeouts?)\"?\s?[:=]\s?0\b",
    r"\berror-?free\b",
    r"--?(no|ignore|allow|max|continue-on)-[\w-]*(errors?|failures?|failed)\b",
    r"\b(no|not) (out of memory|corruption|deadlocks?)\b",
    r"\bfail(-|\s)?(fast|safe|over)|\bon[_-]?(failure|error)\b",
)
"""Counts of zero, and words that only speak of errors."""
