#!/usr/bin/env bats
# The mux against accidents and attacks, one scenario a test: see attack_*.c.

setup() { load common; }

attack() { timeout -k 5 400 "$BUILD/tests/attack_$1" "$2"; }

@test "wake: a worker is stopped in its sleep" { attack wake stopped; }
@test "wake: the same with a message that the owner framed" { attack wake stopped_big; }
@test "wake: a client that reads no answers" { attack wake full; }
@test "wake: a slow message does not hold up the next one" { attack wake uneven; }
@test "wake: floods do not shut out other connections" { attack wake lanes; }
@test "death: with a message in hand" { attack death given; }
@test "death: before a chunk is freed" { attack death 'done'; }
@test "death: before a free chunk is marked" { attack death freed; }
@test "death: before a release is counted" { attack death uncounted; }
@test "death: with a reply kept back" { attack death kept; }
@test "death: with a connection locked" { attack death locked; }
@test "death: a reply sent and not accounted" { attack death sent; }
@test "death: in the middle of a reply" { attack death sent_part; }
@test "death: before a hand-over" { attack death handing; }
@test "death: in the middle of a hand-over" { attack death handed_part; }
@test "peer: workers do not wait for a client that reads no answers" { attack peer slow; }
@test "peer: a worker notices that its owner was killed" { attack peer orphan; }
@test "peer: a worker of a former owner leaves the new one alone" { attack peer outlived; }
@test "peer: a busy worker misses the end of a thousand connections" { attack peer ended; }
@test "stream: half a message of any size times out" { attack stream halves; }
@test "stream: overload with small messages, and their end" { attack stream overload_small; }
@test "stream: overload with messages of 40 KB" { attack stream overload_mid; }
@test "stream: overload with messages of 3 MB" { attack stream overload_big; }
@test "stream: overload for longer than memory waits for a message" { attack stream overload_long; }
@test "stream: kept after an error, until the client goes" { attack stream kept; }
@test "stream: thousands of unfinished messages are bounded" { attack stream unfinished; }
@test "stream: urgent bytes" { attack stream urgent; }
@test "death: hundreds of workers killed under load leave nothing behind" { attack death storm; }
