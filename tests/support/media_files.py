"""PDF files, videos and sound, made for tests."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction

A4 = (595.0, 842.0)
RATE = 16_000


def text_on_page(text: str, size: int = 24) -> bytes:
    """The content of a page with one line of text."""
    return f"BT /F1 {size} Tf 72 700 Td ({text}) Tj ET".encode("latin-1")


def pdf(
    *contents: bytes,
    size: tuple[float, float] = A4,
    page: bytes = b"",
    annotations: bytes = b"",
    catalog: bytes = b"",
    trailer: bytes = b"",
    count: int | None = None,
    objects: Sequence[bytes] = (),
    filters: bytes = b"",
) -> bytes:
    """A PDF file with one page for each content.

    Args:
        contents: Content streams.
        size: Width and height of the pages in points.
        page: More resources of each page.
        annotations: More entries of each page.
        catalog: More entries of the catalog.
        trailer: More entries of the trailer.
        count: The number of pages that the file claims.
        objects: More objects, numbered from 4.
        filters: More entries of the content streams, whose content is then encoded.
    """
    first = 4 + len(objects)
    kids = b" ".join(b"%d 0 R" % (first + 2 * k) for k in range(len(contents)))
    claimed = len(contents) if count is None else count
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, claimed),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        *objects,
    ]
    box = b"[0 0 %g %g]" % size
    for k, content in enumerate(contents):
        bodies.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox %s /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> %s >> %s >>"
            % (box, first + 2 * k + 1, page, annotations)
        )
        bodies.append(stream(content, filters))
    output = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(output))
        output += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(output)
    output += b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    output += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    output += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (len(bodies) + 1, trailer)
    return bytes(output + b"startxref\n%d\n%%%%EOF\n" % start)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """The body of a stream object."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def encrypted_pdf() -> bytes:
    """A PDF file that no empty password opens."""
    key = b"<%s>" % (b"5a" * 32)
    encryption = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O %s /U %s /P -4 >>" % (key, key)
    return pdf(text_on_page("secret"), trailer=encryption + b" /ID [<00> <00>]")


def equal_bytes(value: int, count: int, times: int) -> bytes:
    """A zlib stream of a number of equal bytes, repeated many times, made without all of them."""
    packer = zlib.compressobj(9)
    packed = packer.compress(bytes([value]) * count) + packer.flush(zlib.Z_FULL_FLUSH)
    header, block = packed[:2], packed[2:]  # a block ends with a full flush: it can be repeated
    # The checksum, Adler-32, is the sum of the bytes and the sum of these sums after each byte.
    size = count * times
    low, high = 1 + value * size, size + value * size * (size + 1) // 2
    checksum = struct.pack(">HH", high % 65521, low % 65521)
    return header + block * times + b"\x03\x00" + checksum


def memory_bomb(megabytes: int) -> bytes:
    """A small PDF file whose page is spaces, deflated twice."""
    inner = equal_bytes(ord(" "), 2**20, megabytes)
    return pdf(
        zlib.compress(inner, 9), filters=b"/Filter [/FlateDecode /FlateDecode]", size=(200, 200)
    )


def png_bomb(side: int) -> bytes:
    """A small PNG file of a black square with sides of that many pixels, a multiple of 100."""
    found = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # one bit for each pixel, gray
    rows = equal_bytes(0, 100 * (1 + -(-side // 8)), side // 100)
    for kind, data in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")):
        checksum = zlib.crc32(kind + data)
        found += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
    return found


def time_bomb(curves: int = 370_000) -> bytes:
    """A small PDF file whose page is one path of many curves, too slow for any machine."""
    curve = b"0 800 600 0 600 800 c 600 0 0 800 0 0 c "  # two, with wide and round strokes
    path = b"1 J 1 j 200 w 0 0 m " + curve * (curves // 2) + b"S"
    return pdf(zlib.compress(path, 9), filters=b"/Filter /FlateDecode")


def tone(seconds: float, *, rate: int = RATE, channels: int = 1, volume: float = 0.3) -> bytes:
    """A WAV file with a tone of 440 Hz."""
    count = round(seconds * rate)
    period = [
        round(32767 * volume * math.sin(2 * math.pi * 440 * k / rate)) for k in range(rate)
    ]  # a second holds whole periods
    second = struct.pack(f"<{rate * channels}h", *(v for v in period for _ in range(channels)))
    samples = (second * (count // rate + 1))[: count * channels * 2]
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return output.getvalue()


def shade(index: int) -> int:
    """The gray of a frame of `clip`."""
    return 16 + index * 7 % 224


def clip(
    count: int = 20,
    *,
    rate: int = 10,
    size: tuple[int, int] = (64, 48),
    container: str = "mp4",
    codec: str = "libx264",
    group: int = 10,
    sound: float = 0.0,
    gray: Callable[[int], int] = shade,
    stamps: Callable[[int], int] = lambda index: index,
) -> bytes:
    """A video of gray frames, the left half of each darker.

    Args:
        count: Number of frames.
        rate: Frames a second.
        size: Width and height.
        container: Name of the container.
        codec: Name of the encoder.
        group: Frames from one key frame to the next.
        sound: Seconds of a tone that is added.
        gray: Gray of a frame by its index.
        stamps: Time of a frame, in frames, by its index.
    """
    import av
    import PIL.Image

    output = io.BytesIO()
    with av.open(output, "w", format=container) as file:
        video = file.add_stream(codec, rate=rate)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = group
        voice = "aac" if container == "mp4" else "libopus"
        heard = file.add_stream(voice, rate=48_000) if sound else None
        for index in range(count):
            image = PIL.Image.new("L", size, gray(index))
            image.paste(gray(index) // 2, (0, 0, size[0] // 2, size[1]))
            frame = av.VideoFrame.from_image(image.convert("RGB"))
            frame.pts, frame.time_base = stamps(index), Fraction(1, rate)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if heard is not None:
            _add_sound(file, heard, tone(sound, rate=48_000))
    return output.getvalue()


def sound_file(container: str, codec: str, seconds: float, *, rate: int = 48_000) -> bytes:
    """A tone, encoded."""
    import av

    output = io.BytesIO()
    with av.open(output, "w", format=container) as file:
        _add_sound(file, file.add_stream(codec, rate=rate), tone(seconds, rate=rate))
    return output.getvalue()


def _add_sound(file: object, stream: object, wav: bytes) -> None:
    import av

    with av.open(io.BytesIO(wav), format="wav") as source:
        for frame in source.decode(audio=0):
            frame.pts = None
            file.mux(stream.encode(frame))  # type: ignore[attr-defined]
    file.mux(stream.encode(None))  # type: ignore[attr-defined]


def rotated(mp4: bytes, quarters: int) -> bytes:
    """An MP4 file whose frames are to be shown turned clockwise by quarters."""
    one = 1 << 16
    cosine, sine = [(one, 0), (0, one), (-one, 0), (0, -one)][quarters % 4]
    matrix = struct.pack(">9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    place = mp4.index(b"tkhd") + 4 + 40
    return mp4[:place] + matrix + mp4[place + 36 :]
