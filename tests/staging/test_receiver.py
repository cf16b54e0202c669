"""The intake of a share: what is refused by name, and that nothing of a refused message is kept."""

from pathlib import Path

import pytest

from core.digest import ZERO_DIGEST, digest_of
from core.relpath import PathRefused
from staging.changes import Attributes, Chunk, Content, Create, Kind, Recipe, Unlink, Write
from staging.chunk_format import ChunkDamaged, ChunkKind, PackedChunk, decode_keys, encode_keys, item_parts, pack_chunk
from staging.frame_format import FrameDamaged, seal_frame
from staging.protocol import ChangedRepeat, Open, SequenceForked, SequenceGap, SessionFenced, StaleEpoch
from staging.receiver import ChunkMissing, ShareMismatch, SizeWrong
from staging.recipe_format import Piece, build_recipe, encode_node
from tests.share_rig import SHARE_ID, ShareRig

PLAIN = Attributes(0o644, 0, 0, 0)


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    return ShareRig(tmp_path)


def unchanged(rig: ShareRig, before: bytes) -> bool:
    return next(rig.folder.glob("journal/*.skj")).read_bytes() == before


def journal_bytes(rig: ShareRig) -> bytes:
    return next(rig.folder.glob("journal/*.skj")).read_bytes()


def test_a_repeat_is_harmless_and_answered_with_the_durable_end(rig: ShareRig) -> None:
    frame = rig.seal([b"a"], [Create(0, Kind.FILE, PLAIN)])
    assert rig.receiver.frames("session", frame).durable_sequence == 1
    before = journal_bytes(rig)
    assert rig.receiver.frames("session", frame).durable_sequence == 1
    assert unchanged(rig, before)


def test_a_changed_repeat_is_refused(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    other = seal_frame(SHARE_ID, 1, 1, ZERO_DIGEST, [b"b"], [Create(0, Kind.FILE, PLAIN)])
    with pytest.raises(ChangedRepeat) as refusal:
        rig.receiver.frames("session", other)
    assert refusal.value.expected == {"sequence": 2}


def test_a_gap_is_refused_with_the_expected_number(rig: ShareRig) -> None:
    ahead = seal_frame(SHARE_ID, 1, 5, ZERO_DIGEST, [b"a"], [Unlink(0)])
    with pytest.raises(SequenceGap) as refusal:
        rig.receiver.frames("session", ahead)
    assert refusal.value.expected == {"sequence": 1}


def test_a_frame_that_straddles_the_durable_end_is_a_fork(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    straddling = seal_frame(SHARE_ID, 1, 1, ZERO_DIGEST, [b"a"], [Unlink(0), Unlink(0)])
    with pytest.raises(SequenceForked):
        rig.receiver.frames("session", straddling)


def test_a_frame_behind_another_history_is_refused_and_not_kept(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    before = journal_bytes(rig)
    forged = seal_frame(SHARE_ID, 1, 2, digest_of(b"another history"), [b"a"], [Unlink(0)])
    with pytest.raises(FrameDamaged):
        rig.receiver.frames("session", forged)
    assert unchanged(rig, before)


def test_whole_frames_before_a_refused_one_are_durable(rig: ShareRig) -> None:
    good = rig.seal([b"a"], [Create(0, Kind.FILE, PLAIN)])
    with pytest.raises(FrameDamaged):
        rig.receiver.frames("session", good + b"rubbish")
    assert rig.journal.durable.sequence == 1


def test_a_newer_session_ends_the_older_one(rig: ShareRig) -> None:
    rig.receiver._new_session = lambda: "newer"
    rig.receiver.open(Open(SHARE_ID, 1))
    with pytest.raises(SessionFenced):
        rig.receiver.frames("session", rig.seal([b"a"], [Unlink(0)]))
    assert rig.receiver.frames("newer", rig.seal([b"a"], [Unlink(0)])).durable_sequence == 1


def test_open_tells_where_the_chain_ends_and_refuses_other_lives(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    answer = rig.receiver.open(Open(SHARE_ID, 1))
    assert (answer.durable_sequence, answer.durable_hash) == (1, rig.journal.position.hash)
    with pytest.raises(StaleEpoch):
        rig.receiver.open(Open(SHARE_ID, 7))
    with pytest.raises(ShareMismatch):
        rig.receiver.open(Open(bytes(16), 1))


def test_a_new_epoch_goes_on_behind_the_durable_end(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    rig.epoch = 2
    rig.receiver.open(Open(SHARE_ID, 2))
    assert rig.send([b"b"], [Create(0, Kind.FILE, PLAIN)]) == 2
    with pytest.raises(StaleEpoch):
        rig.receiver.open(Open(SHARE_ID, 1))


@pytest.mark.parametrize("content", [Chunk(digest_of(b"never put"), 9), Recipe(digest_of(b"never put"), 9)])
def test_a_frame_that_names_an_unknown_content_is_refused_and_not_kept(rig: ShareRig, content: Chunk | Recipe) -> None:
    before = journal_bytes(rig)
    with pytest.raises(ChunkMissing) as refusal:
        rig.send([b"a"], [Content(0, content)])
    kind = 1 if isinstance(content, Chunk) else 2
    assert refusal.value.expected["missing"] == [f"{kind}:{content.digest.hex()}"]
    assert unchanged(rig, before)


def test_a_chunk_of_another_domain_looks_like_an_unknown_one(rig: ShareRig) -> None:
    secret = pack_chunk(ChunkKind.DATA, b"another branch's secret" * 10)
    rig.store.put("other", [secret])
    key = (ChunkKind.DATA, secret.digest)
    unknown = (ChunkKind.DATA, digest_of(b"unknown"))
    assert decode_keys(rig.receiver.missing(encode_keys([key, unknown]))) == [key, unknown]
    with pytest.raises(ChunkMissing):
        rig.send([b"a"], [Content(0, Chunk(secret.digest, secret.size))])
    rig.receiver.chunks(b"".join(item_parts(secret)))
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN, Chunk(secret.digest, secret.size))])
    assert rig.store.counts()[0] == 1, "equal chunks are stored once"


def test_wrong_bytes_of_a_chunk_are_refused_and_not_kept(rig: ShareRig) -> None:
    lie = PackedChunk(ChunkKind.DATA, digest_of(b"promised"), pack_chunk(ChunkKind.DATA, b"sent").form, 4, b"sent")
    with pytest.raises(ChunkDamaged):
        rig.receiver.chunks(b"".join(item_parts(lie)))
    assert rig.store.counts()[0] == 0


def test_a_body_of_chunks_that_is_cut_short_is_refused(rig: ShareRig) -> None:
    body = b"".join(item_parts(pack_chunk(ChunkKind.DATA, b"x" * 1000)))
    for length in (10, len(body) - 1):
        with pytest.raises(ChunkDamaged):
            rig.receiver.chunks(body[:length])
    assert rig.store.counts()[0] == 0


def test_a_recipe_node_is_kept_only_with_everything_that_it_names(rig: ShareRig) -> None:
    part = pack_chunk(ChunkKind.DATA, b"part" * 100)
    _, nodes = build_recipe([Piece(400, part.digest), Piece(100_000, ZERO_DIGEST)])
    body = b"".join(item_parts(nodes[0]))
    with pytest.raises(ChunkMissing):
        rig.receiver.chunks(body)
    rig.receiver.chunks(b"".join(item_parts(part)) + body)
    assert rig.store.counts()[0] == 2


def test_a_recipe_node_that_lies_about_a_length_is_refused(rig: ShareRig) -> None:
    part = pack_chunk(ChunkKind.DATA, b"part" * 100)
    lie = pack_chunk(ChunkKind.NODE, encode_node(0, [Piece(401, part.digest)]))
    with pytest.raises(ChunkDamaged, match="wrong length"):
        rig.receiver.chunks(b"".join(item_parts(part)) + b"".join(item_parts(lie)))


def test_a_path_out_of_the_share_is_refused_and_not_kept(rig: ShareRig) -> None:
    before = journal_bytes(rig)
    with pytest.raises(PathRefused):
        rig.send([b"../../etc/shadow"], [Write(0, 0, b"x")])
    assert unchanged(rig, before)


def test_a_frame_that_lies_about_a_size_is_refused_and_not_kept(rig: ShareRig) -> None:
    one, several = rig.put(b"0123456789"), rig.put(b"x" * 100_000 + bytes(100_000))
    assert isinstance(one, Chunk) and isinstance(several, Recipe)
    before = journal_bytes(rig)
    for lie in (Chunk(one.digest, 11), Recipe(several.digest, 200_001)):
        with pytest.raises(SizeWrong):
            rig.send([b"a"], [Create(0, Kind.FILE, PLAIN, lie)])
    assert unchanged(rig, before)


def test_a_recipe_node_that_lies_about_what_stands_below_is_refused(rig: ShareRig) -> None:
    part = pack_chunk(ChunkKind.DATA, b"part" * 100)
    leaf = pack_chunk(ChunkKind.NODE, encode_node(0, [Piece(400, part.digest)]))
    rig.receiver.chunks(b"".join(b"".join(item_parts(chunk)) for chunk in (part, leaf)))
    for level, length in ((1, 401), (2, 400)):
        lie = pack_chunk(ChunkKind.NODE, encode_node(level, [Piece(length, leaf.digest)]))
        with pytest.raises(ChunkDamaged, match="wrong length or level"):
            rig.receiver.chunks(b"".join(item_parts(lie)))
    root = pack_chunk(ChunkKind.NODE, encode_node(1, [Piece(400, leaf.digest)]))
    rig.receiver.chunks(b"".join(item_parts(root)))
