"""How can a server learn the sum of its clients' vectors, and nothing about any one of them?

Each client adds to its vector one mask for each neighbour, which the neighbour takes away again,
and a mask of its own. Masked vectors look uniform; in their sum the pairs cancel. Secrets are
shared among neighbours beforehand, so that the sum can still be unmasked when clients are lost:
the seed of the own mask of who is in the sum, the mask key of who is not, never both of one.

    ring     real numbers as residues modulo 2^32, and back
    graph    who masks against whom, and how many shares recover a secret
    masks    key agreement, and seeds expanded to masks
    shamir   secrets shared among holders
    client, server, messages      the two parties, and all that passes between them
    protocol                      one whole round: `secure_sum`

What this does not promise. The server is honest but curious: it follows the protocol and looks at
all it receives. A server that lies can do more, such as inventing clients or telling them
different lists of who is left; the signed keys and the consistency round that Bonawitz et al. add
against it are not here (a client still refuses to give away both secrets of a neighbour). A client
may send any vector: nobody can see that it is poisoned, which is the point of this simulator. The
sum itself is public, and with few clients it says much about each. The network is simulated in one
process, whose memory holds everything. Keys derive from the run's seed, so that a run can be
repeated: whoever knows the seed can unmask every vector, and time and memory access are not
guarded against an observer either. These are measurements of a protocol, not a product to hide
people's data with.

References:
    Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal and Seth, "Practical Secure
    Aggregation for Privacy-Preserving Machine Learning", CCS 2017.
    Bell, Bonawitz, Gascón, Lepoint and Raykova, "Secure Single-Server Aggregation with
    (Poly)Logarithmic Overhead", CCS 2020.
"""

from simulator.secure_aggregation.errors import (
    AggregationError,
    RangeError,
    RefusedError,
    TooFewClientsError,
)
from simulator.secure_aggregation.graph import Assumptions
from simulator.secure_aggregation.protocol import Fate, SecureSum, secure_sum
from simulator.secure_aggregation.ring import Residues, decode, encode, encoded_sum, plain_sum

__all__ = [
    "AggregationError",
    "Assumptions",
    "Fate",
    "RangeError",
    "RefusedError",
    "Residues",
    "SecureSum",
    "TooFewClientsError",
    "decode",
    "encode",
    "encoded_sum",
    "plain_sum",
    "secure_sum",
]
