"""Whether a chain of certificates leads to an authority that is trusted, and if not, where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL, crypto

from txdagu.grpc.certificates import title
from txdagu.grpc.tls import TRUST_FLAGS

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL: dates are judged on their own, so that they do not hide what else is wrong.
_NO_CHECK_TIME = 0x200000


@dataclass(frozen=True, slots=True)
class Trust:
    """
    Whether a chain leads to a trusted authority. `path` is the way there as far as known, the certificate first, the root last.

    `ours` tells that the end is one of the anchors that were given, not one of the system's. `problem` is empty if all is well;
    `unknown` tells that it is an authority that is not known, which knowing it would mend.
    """

    path: tuple[x509.Certificate, ...]
    ours: bool = False
    problem: str = ""
    unknown: bool = False


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
    store.set_flags(_NO_CHECK_TIME | TRUST_FLAGS)
    first, *others = (crypto.X509.from_cryptography(one) for one in chain)
    try:
        verified = crypto.X509StoreContext(store, first, others).get_verified_chain()
    except crypto.X509StoreContextError as error:
        return _untrusted(tuple(chain), str(error), error.certificate.to_cryptography())
    path = tuple(one.to_cryptography() for one in verified)
    return Trust(path, ours=path[-1] in anchors)


def _untrusted(chain: tuple[x509.Certificate, ...], words: str, where: x509.Certificate) -> Trust:
    name = title(where)
    if "issuer certificate" in words or "first certificate" in words:
        problem = f"{name} was issued by {where.issuer.rfc4514_string()}, which is not known here"
    elif words == "self-signed certificate":
        problem = f"{name} has signed itself and is not known here"
    elif "self-signed" in words:
        problem = f"the chain ends at {name}, which is not known here"
    elif "invalid CA" in words:
        return Trust(
            chain, problem=f"{name} issued a certificate and is no authority: it lacks basicConstraints CA:TRUE"
        )
    else:
        return Trust(chain, problem=f"{words} ({name})")
    return Trust(chain, problem=problem, unknown=True)
