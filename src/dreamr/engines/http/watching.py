"""The video file with which servers are tried."""

from __future__ import annotations

import zlib
from base64 import b64decode
from functools import cache

from dreamr.conversation import Conversation, Text, Turn, VideoFile
from dreamr.engines.http.ability_check import Sample
from dreamr.engines.http.rendering import QUESTION

# Two seconds in MP4, as H.264: eight gray frames of 64 x 64 pixels, each brighter than the last.
_CLIP = """
eNp9VU2IHEUUrpnNzypRVgmSwAZrMcnFndnu3nEyDjbssokO/uAPmIMITXVV9XQzXd211TWzM3vaoGAOiuBhD0FWPAoq
ehBPHkQPXiQeDUTUi0aIevGQi46venoyndVNMV3v/3v1Xr3uQQjhQI9klKUCoSoyFB6HDKgtZMNGCM0HinOE5h4VjGjw
2TtyeDy+cv3Cb1/8cq3z+e7y9/jaI3/8OXSaDVzDNFUc283HgO3UQbXy3AsXnqo18PrFDbAxTsGwkcpRzAONHctarTmW
Y7xDrWV7ZWVra6s+iBhPY5LUU9VdMbj1UIsYfFKpozTJ2pgSn1DXxooHrt3EjPtxSnuu3bbaFiYJiUcZd63hatsa2qur
WHC3L0Kc9X3gbAvLbATBsHuKuXbdgijYsIiGnHk5JoR4iiRd7joNTEOVCuKZWKwVj+Mocx3cGrYY1aCim8K14AyEbacJ
BNjLto0DkmlPZr1IGo8JwKb00iDIuHZrDtahgogMrHGa9kgIgjfTZXFE+Uxh4UTlOWgkiDbniBLNVUzACfR+3Fdk5NFU
SKJBptAkrUiUAAQ4KmJ8AkUEz9xz2PfkCPiIQRG+RxiROuf8iJhMLFIc6lrFWzzqhtqHZKnkiddNJVgnSgkBPT4CbLdV
MJ6IEnNwyhNO+9ptWDhPbfqpeBZCrKLe7VohTlGXqgALH3pqSgIBouoW3jSFuFa9Caw0sDklQ7f5ODCZ5tJt4EjCBcE4
wP1BKrIJl29uEu3AxJ7ily+h6nv//H71p5d+ePvm7tPbRz7+9d0zPz7/2dr5F0+Cw/3rV+Zvxg+jv/AbY3TVhNyzvrfQ
XXhmvLxkhMreibOXl8YtXAhPGmFqeatTEj4qC98WwpwWaToAZSwGIUN3rLkbCB39DlWQ+c1W5U6v/fIauuuqmtcSmt0D
/lXdy3PO/RcN8qK75/nfvGu3D3CaM50BXeRxpmcRBhcXsdWHBIsIMFiw/bUbkB308te5UAtZrKYW88qXPS+aT0CHJCzm
xqfyJYxBAMzxgchBy8c8zSa2RQajVirjWF/FeMJXLmXaj4H/NNMZK/m8b75zB7TCnHcNdYB2DvTYv06Mx7CfA9SNCkP3
jn9GJ7tAP1SHzp993dzJIbPhJzq7D+xU0NHwxsZr73zzyd+3bpng4/AmFF099uYUMNN5x6fp5xFayH2hkLLePC068z08
0eHCvlNQq5iWySgWWIuARfdhzRe0AbbtUoGgr34F9EF47jvggbPRtIRnkvp9ps1UvCJ4Ts1aKk8ATI0iUsblbtaiyZid
+UCnBvAU/AGR6T08SwZB06nb8LOcfwEUtnyc
"""


@cache
def watched_conversation() -> Conversation:
    """Return a conversation about a video file."""
    file = VideoFile(zlib.decompress(b64decode(_CLIP)), "video/mp4")
    return Conversation((Turn("user", (file, Text(QUESTION))),))


WATCHING = Sample(
    "watching", "video files", lambda talk: bool(talk.video_files), watched_conversation
)
