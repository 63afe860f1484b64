"""Whether a chain of certificates leads to an authority that is trusted, and if not, where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL, crypto

from txdagu.grpc.certificates import title

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL: dates are judged on their own, so that they do not hide what else is wrong.
_NO_CHECK_TIME = 0x200000


@dataclass(frozen=True, slots=True)
class Trust:
    """
    Whether a chain leads to a trusted authority. `path` is the way there as far as known, the certificate first, the root last.

    `ours` tells that the root is one of the anchors that were given, not one of the system's. `problem` is empty if all is well.
    """

    path: tuple[x509.Certificate, ...]
    ours: bool = False
    problem: str = ""


def trust(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> Trust:
    """
    Look for the way from the first certificate of `chain` to one of `anchors` or of the system's authorities.

    The rest of `chain` may be used on that way. Dates, names and uses are not looked at.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_default_verify_paths()
    store = context.get_cert_store()
    if store is None:  # OpenSSL always makes one
        raise RuntimeError("OpenSSL has no certificate store")
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor))
    store.set_flags(_NO_CHECK_TIME)
    first, *others = (crypto.X509.from_cryptography(one) for one in chain)
    try:
        verified = crypto.X509StoreContext(store, first, others).get_verified_chain()
    except crypto.X509StoreContextError as error:
        return Trust(tuple(chain), problem=_explained(str(error), error.certificate.to_cryptography()))
    path = tuple(one.to_cryptography() for one in verified)
    return Trust(path, ours=path[-1] in anchors)


def _explained(words: str, where: x509.Certificate) -> str:
    if "issuer certificate" in words or "first certificate" in words:
        return f"{title(where)} was issued by {where.issuer.rfc4514_string()}, which is not known here"
    if words == "self-signed certificate":
        return f"{title(where)} has signed itself and is not known here"
    if "self-signed" in words:
        return f"the chain ends at {title(where)}, which is not known here"
    return f"{words} ({title(where)})"
