"""What a coordinator's reply to a greeting means for us: findings, from what was seen and what our own side is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from cryptography import x509

from txdagu.grpc.certificates import EXPIRES_SOON, Usage, days, has_usage, host_names, is_for, named_hosts, title
from txdagu.grpc.greeting import Answer, Limits, Reply
from txdagu.grpc.options import DEFAULT_OPTIONS
from txdagu.grpc.tls import HTTP2
from txdagu.grpc.tls_failures import Trouble
from txdagu.grpc.tls_sight import TlsFacts
from txdagu.grpc.trust import trust
from txdagu.model.addresses import ip_version
from txdagu.model.findings import Finding, failure, ok, warning
from txdagu.peers.advice import CLIENT_ADVICE
from txdagu.peers.diagnosis.own_side import OwnSide

# Besides its polls a worker needs streams for heartbeats and health checks.
_OTHER_STREAMS = 4
_DAY = timedelta(days=1)

Make = Callable[..., Finding]


def judge_clear(reply: Reply, over_tls: Reply | None, own: OwnSide) -> list[Finding]:
    """A greeting in clear text, because our settings say so. `over_tls` is what TLS brought, where clear text brought nothing."""
    if reply.answer is Answer.HTTP2:
        return [ok("protocol", "it speaks HTTP/2 in clear text (h2c), and so do we"), *judge_limits(reply, own)]
    tls = None if over_tls is None else over_tls.tls
    if reply.answer is Answer.TLS or (tls is not None and (tls.complete or over_tls_refuses(over_tls))):
        certificate = f", with a certificate for {named_hosts(tls.chain[0])}" if tls and tls.chain else ""
        advice = CLIENT_ADVICE[Trouble.TLS_EXPECTED]
        if tls is not None and tls.asked:
            advice += "; it asks for a certificate of ours too (peer.certFile and peer.keyFile)"
        return [
            failure(
                "protocol",
                f"it speaks TLS{certificate}, and we speak clear text (h2c)",
                f"{advice}; {own.asked_by}",
            )
        ]
    return [_strange(reply)]


def over_tls_refuses(reply: Reply | None) -> bool:
    """Whether it answered in TLS, though with a refusal."""
    return reply is not None and reply.answer is Answer.REFUSED


def judge_tls(reply: Reply, in_clear: Reply | None, host: str, own: OwnSide, now: datetime) -> list[Finding]:
    """
    A TLS greeting, because our settings say so, sent to the server that clients dial as `host`.

    `in_clear` is what clear text brought, where TLS brought nothing.
    """
    tls = reply.tls or TlsFacts()
    if in_clear is not None and in_clear.answer is Answer.HTTP2:
        return [
            failure(
                "protocol",
                "it speaks HTTP/2 in clear text (h2c), and we speak TLS",
                f"{CLIENT_ADVICE[Trouble.NOT_TLS]}; {own.asked_by}",
            )
        ]
    if not tls.complete and not tls.chain and not tls.asked and reply.answer is not Answer.REFUSED:
        return [_strange(reply if in_clear is None or in_clear.answer is Answer.SILENCE else in_clear)]
    findings = [_handshake(reply, tls)]
    if tls.complete:
        findings.append(_alpn(reply, tls))
    if tls.chain:
        findings += judge_certificate(tls, host, own, now)
    if tls.complete or tls.asked:
        findings.append(_own_certificate(reply, tls, own))
    if reply.answer is Answer.HTTP2:
        findings += judge_limits(reply, own)
    elif (
        tls.complete
        and not (tls.asked and reply.answer in (Answer.REFUSED, Answer.CLOSED))
        and tls.alpn == HTTP2.decode()
    ):
        findings.append(failure("http2", f"inside TLS it does not speak HTTP/2: {_heard(reply)}"))
    return findings


def _handshake(reply: Reply, tls: TlsFacts) -> Finding:
    if tls.complete or tls.asked:
        return ok("protocol", f"it speaks {tls.version}, and so do we")
    words = reply.detail or "no reason is told"
    advice = ""
    if ("protocol" in words and "version" in words) or "unsupported protocol" in words:
        advice = CLIENT_ADVICE[Trouble.OLD_VERSION]
    elif "application protocol" in words or "internal error" in words:
        advice = f"most often it does not know HTTP/2: {CLIENT_ADVICE[Trouble.NO_HTTP2]}"
    elif "handshake failure" in words:
        advice = "the two sides share no cipher or kind of key: give it a certificate with an EC key, or RSA of 2048 bits or more"
    return failure("protocol", f"it speaks TLS and refuses the handshake: {words}", advice)


def _alpn(reply: Reply, tls: TlsFacts) -> Finding:
    if tls.alpn == HTTP2.decode():
        return ok("alpn", "HTTP/2 is agreed on (ALPN h2)")
    instead = f"it chose {tls.alpn}" if tls.alpn else "it chose no protocol"
    heard = f"; {_heard(reply)}" if reply.answer in (Answer.HTTP1, Answer.OTHER) else ""
    return failure(
        "alpn",
        f"HTTP/2 is not agreed on (ALPN h2): {instead}{heard}",
        CLIENT_ADVICE[Trouble.NO_HTTP2],
    )


def judge_certificate(tls: TlsFacts, host: str, own: OwnSide, now: datetime) -> list[Finding]:
    """Everything about the certificate of the server: names, dates, use, and who vouches for it."""
    leaf = tls.chain[0]
    make: Make = failure if own.verify else warning
    findings = []
    names = named_hosts(leaf) if host_names(leaf) else "no host at all (a common name does not count)"
    if is_for(leaf, host):
        findings.append(ok("names", f"the certificate is for {names}"))
    else:
        findings.append(
            make(
                "names",
                f"the certificate of {title(leaf)} is not for {host} but for {names}",
                f"dial one of its names (workers dial what coordinator.advertise says), or issue one with "
                f"subjectAltName={'IP' if ip_version(host) else 'DNS'}:{host}",
            )
        )
    found = trust(tls.chain, own.anchors)
    findings += judge_dates(found.path if not found.problem else tls.chain, now, make)
    if not has_usage(leaf, Usage.SERVER):
        findings.append(
            make(
                "usage",
                f"the certificate of {title(leaf)} is not for servers: its extended key usage lacks serverAuth",
                "have it issued with extendedKeyUsage serverAuth, and clientAuth where one certificate serves both roles",
            )
        )
    if not found.problem:
        source = own.setting("peer.clientCaFile") if found.ours else "one of the system's authorities"
        findings.append(ok("chain", f"issued by {title(found.path[-1])} ({source})"))
    else:
        advice = f"{CLIENT_ADVICE[Trouble.THEIRS_UNKNOWN]}; {own.setting('peer.clientCaFile')}"
        if own.settings.peer.client_ca_file and not own.anchors:
            advice = f"mend what is said about the authorities above; {own.setting('peer.clientCaFile')}"
        elif not found.unknown:
            advice = "have the coordinator's certificate issued by an authority that may do so"
        elif len(tls.chain) == 1 and leaf.issuer != leaf.subject:
            advice += "; an authority between that one and its certificate must be sent by the coordinator (in its peer.certFile)"
        findings.append(make("chain", found.problem, advice))
    return findings


def judge_dates(chain: Sequence[x509.Certificate], now: datetime, make: Make = failure) -> list[Finding]:
    """Whether all certificates of a chain are valid now, and for how long; those that are not are told with `make`."""
    findings = []
    for each in chain:
        begins, ends = each.not_valid_before_utc, each.not_valid_after_utc
        if ends < now:
            text = f"the certificate of {title(each)} expired {days(now - ends)} ago, on {_minute(ends)}"
            findings.append(make("dates", text, "have it renewed"))
        elif now < begins:
            text = f"the certificate of {title(each)} is not valid before {_minute(begins)}"
            findings.append(make("dates", text, f"wait, or set the clock of this host: it says {_minute(now)}"))
    if findings:
        return findings
    first = min(chain, key=lambda each: each.not_valid_after_utc)
    left = first.not_valid_after_utc - now
    if left < EXPIRES_SOON:
        text = f"the certificate of {title(first)} expires in {days(left)}, on {_minute(first.not_valid_after_utc)}"
        return [warning("dates", text, "have it renewed", days_left=left / _DAY)]
    text = f"valid until {_minute(first.not_valid_after_utc)}, for {days(left)} more"
    return [ok("dates", text, days_left=left / _DAY)]


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _own_certificate(reply: Reply, tls: TlsFacts, own: OwnSide) -> Finding:
    refused = reply.answer in (Answer.REFUSED, Answer.CLOSED) and (not tls.complete or reply.limits is None)
    issuers = f" issued by {' or '.join(tls.issuers)}" if tls.issuers else ""
    if not tls.asked:
        return ok("client certificate", "it asks for none")
    if own.identity is None:
        if refused and own.settings.peer.cert_file and own.settings.peer.key_file:
            return failure(
                "client certificate",
                f"it wants a certificate from us{issuers}, and ours cannot be used",
                "mend what is said about our own certificate and key above",
            )
        if refused:
            return failure(
                "client certificate",
                f"it wants a certificate from us{issuers}, and we have none",
                f"{CLIENT_ADVICE[Trouble.OURS_MISSING]}; {own.setting('peer.certFile')}",
            )
        return ok("client certificate", "it asks for one, and does without")
    name = title(own.identity.chain[0])
    if not refused:
        return ok("client certificate", f"it accepts ours, {name}")
    words = reply.detail or "it closed the connection without a word"
    return failure(
        "client certificate",
        f"it refuses ours, {name}: {words}",
        _for_refused(words, issuers, own),
    )


def _for_refused(words: str, issuers: str, own: OwnSide) -> str:
    where = own.setting("peer.certFile")
    identity = own.identity
    if identity is not None and not has_usage(identity.chain[0], Usage.CLIENT):
        return f"have it issued with extendedKeyUsage clientAuth; {where}"
    if "expired" in words:
        return f"renew it; {where}"
    return f"take one{issuers or ' issued by the authority in its peer.clientCaFile'}; {where}"


def judge_limits(reply: Reply, own: OwnSide) -> list[Finding]:
    """What an HTTP/2 server allows, and whether that is enough for a worker."""
    limits = reply.limits
    if limits is None:
        return []
    text = f"SETTINGS arrived: {_limits_text(limits)}"
    polls = own.settings.worker.max_active_runs
    connections = DEFAULT_OPTIONS.max_connections
    streams = None if limits.concurrent_streams is None else limits.concurrent_streams * connections
    if streams is not None and streams < polls + _OTHER_STREAMS:
        return [
            warning(
                "http2",
                f"{text}; a worker makes at most {connections} connections, and with worker.maxActiveRuns {polls} its polls may "
                "leave no room for heartbeats",
                "raise the limit of the server or of the proxy before it, or set worker.maxActiveRuns to "
                f"{max(1, streams - _OTHER_STREAMS)} at most",
            )
        ]
    findings = [ok("http2", text)]
    if reply.round_trip is None:
        findings.append(warning("ping", "it answers no PING, so a dead connection is noticed late"))
    else:
        findings.append(
            ok("ping", f"a PING is answered after {milliseconds(reply.round_trip)}", seconds=reply.round_trip)
        )
    return findings


def _limits_text(limits: Limits) -> str:
    streams = "any number of calls" if limits.concurrent_streams is None else f"{limits.concurrent_streams} calls"
    headers = "" if limits.header_list_size is None else f", {_size(limits.header_list_size)} of headers"
    return f"{streams} at once, a window of {_size(limits.window)}, frames of {_size(limits.frame_size)}{headers}"


def _size(number: int) -> str:
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= factor and number % factor == 0:
            return f"{number // factor} {unit}"
    return f"{number} bytes"


def milliseconds(seconds: float) -> str:
    """A short time for people: ``0.4 ms``, ``12 ms``, ``1.2 s``."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def _strange(reply: Reply) -> Finding:
    advice = {
        Answer.HTTP1: "this may be the web pages' port: dial the coordinator's, 50055 unless coordinator.port says otherwise",
        Answer.OTHER: "dial the coordinator's port, 50055 unless coordinator.port says otherwise",
        Answer.SILENCE: "see whether its process is stopped or overloaded, and whether something else holds that port",
        Answer.CLOSED: "see what its log says; something in between may have closed it",
    }.get(reply.answer, "")
    if reply.limits is not None:
        return failure("protocol", f"it speaks HTTP/2, but not for long: {_heard(reply)}", advice)
    return failure("protocol", f"it does not speak HTTP/2: {_heard(reply)}", advice)


def _heard(reply: Reply) -> str:
    match reply.answer:
        case Answer.HTTP1:
            return f"an HTTP/1 server answers ({reply.detail})"
        case Answer.OTHER:
            return f"it sends {reply.detail}"
        case Answer.SILENCE:
            return "it takes the connection and says nothing"
        case Answer.CLOSED:
            return "it closes the connection" + (f" ({reply.detail})" if reply.detail else " without a word")
        case _:
            return f"{reply.answer.value}" + (f" ({reply.detail})" if reply.detail else "")
