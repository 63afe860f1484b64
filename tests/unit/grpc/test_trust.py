"""The way from a certificate to a trusted authority."""

from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.trust import trust
from txdagu.testing.certificates import Authority


class TrustTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A root, an authority below it, and a node below that."""
        self.root = Authority("root")
        self.between = Authority("between", issuer=self.root)
        self.node = self.between.issue("node")

    def test_path(self) -> None:
        """The whole way is told, also when dates are over: those are judged elsewhere."""
        found = trust([self.node.certificate, *self.node.chain], [self.root.certificate])
        self.assertEqual(found.path, (self.node.certificate, self.between.certificate, self.root.certificate))
        self.assertTrue(found.ours)
        self.assertEqual(found.problem, "")
        old = self.root.issue("old", begin=-9, end=-8)
        self.assertEqual(trust([old.certificate], [self.root.certificate]).problem, "")

    def test_problems(self) -> None:
        """Where the way ends: an unknown issuer, an unknown root that was sent, a certificate that vouches for itself."""
        anchors = [Authority("another").certificate]
        unknown = trust([self.node.certificate], anchors)
        self.assertEqual(unknown.problem, "CN=node was issued by CN=between, which is not known here")
        self.assertFalse(unknown.ours)
        sent = trust([self.node.certificate, self.between.certificate, self.root.certificate], anchors)
        self.assertEqual(sent.problem, "the chain ends at CN=root, which is not known here")
        self.assertTrue(sent.unknown)
        alone = trust([self.root.certificate], anchors)
        self.assertEqual(alone.problem, "CN=root has signed itself and is not known here")

    def test_authority_below_the_root(self) -> None:
        """An anchor need not be a root; the way ends there."""
        found = trust([self.node.certificate], [self.between.certificate])
        self.assertEqual((found.path, found.problem), ((self.node.certificate, self.between.certificate), ""))
        self.assertTrue(found.ours)

    def test_no_authority(self) -> None:
        """A node that issues certificates is told as such; to know it would not help."""
        forged = Authority.pretend(self.node).issue("forged")
        found = trust([forged.certificate, *forged.chain], [self.root.certificate])
        self.assertEqual(
            found.problem, "CN=node issued a certificate and is no authority: it lacks basicConstraints CA:TRUE"
        )
        self.assertFalse(found.unknown)
