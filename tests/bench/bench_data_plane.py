"""Speed of the whole data plane on the real engine: REST API to Lambda, direct invoke, SQS event source mapping.

Run it with ``make bench``; it prints one line for each figure, with the figure aimed at, and fails none.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from testbed import deploy
from testbed.running import RunningTestbed, running_testbed

CLIENTS = 16
REQUESTS = 8000
MESSAGES = 2000
_AT_ONCE = "def handler(event, context):\n    return {'statusCode': 200, 'body': '{}'}\n"
_SLOW = "import time\n\ndef handler(event, context):\n    time.sleep(0.05)\n"


async def _send(host: str, port: int, request: bytes, times: list[float], count: int) -> None:
    """One raw client: a kept-alive connection, one request after the other."""
    reader, writer = await asyncio.open_connection(host, port)
    for _ in range(count):
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        times.append((time.perf_counter() - started) * 1000)
    writer.close()


async def _storm(url: str, path: str, headers: str = "") -> str:
    host = urlsplit(url).netloc
    body = json.dumps({"id": 1})
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    address, _, port = host.partition(":")
    await asyncio.gather(*(_send(address, int(port), request, [], 20) for _ in range(CLIENTS)))  # warm
    times: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(_send(address, int(port), request, times, REQUESTS // CLIENTS) for _ in range(CLIENTS)))
    rate = len(times) / (time.perf_counter() - started)
    times.sort()
    return f"{rate:.0f}/s, p50 {times[len(times) // 2]:.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms"


async def _rest_api(bed: RunningTestbed, folder: Path) -> str:
    (folder / "fast").mkdir()
    (folder / "fast" / "at_once.py").write_text(_AT_ONCE)
    arn = await asyncio.to_thread(deploy.function, bed.aws, "fast", folder / "fast", "at_once.handler")
    url = await asyncio.to_thread(deploy.rest_api, bed.aws, "fast", "POST", "/orders", arn)
    return "REST API -> Lambda, 16 clients (1,000/s, p99 50 ms): " + await _storm(url, urlsplit(url).path + "/orders")


async def _invoke(bed: RunningTestbed) -> str:
    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
    path = "/2015-03-31/functions/fast/invocations"
    return "Invoke, 16 clients: " + await _storm(bed.aws.endpoint_url, path, f"Authorization: {scope}\r\n")


async def _mapping(bed: RunningTestbed, folder: Path) -> str:
    (folder / "slow").mkdir()
    (folder / "slow" / "slow.py").write_text(_SLOW)
    await asyncio.to_thread(deploy.function, bed.aws, "slow", folder / "slow", "slow.handler")
    sqs = bed.aws.client("sqs")
    queue = sqs.create_queue(QueueName="bench", Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    for start in range(0, MESSAGES, 10):
        entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(start, start + 10)]
        await asyncio.to_thread(sqs.send_message_batch, QueueUrl=queue, Entries=entries)
    started = time.perf_counter()
    await asyncio.to_thread(
        bed.aws.client("lambda").create_event_source_mapping,
        FunctionName="slow",
        EventSourceArn=deploy.queue_arn(bed.aws, queue),
        BatchSize=10,
    )
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = MESSAGES
    while left:
        await asyncio.sleep(0.05)
        answer = await asyncio.to_thread(sqs.get_queue_attributes, QueueUrl=queue, AttributeNames=names)
        left = sum(int(answer["Attributes"][name]) for name in names)
    return f"SQS mapping, 2,000 messages, batch 10, 50 ms (450/s): {MESSAGES / (time.perf_counter() - started):.0f}/s"


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        started = time.perf_counter()
        async with running_testbed(max_connections=20, logs=logs) as bed:
            print(f"engine and data plane ready (5 s): {time.perf_counter() - started:.1f} s", flush=True)
            print(await _rest_api(bed, Path(folder)), flush=True)
            print(await _invoke(bed), flush=True)
            print(await _mapping(bed, Path(folder)), flush=True)
            stopping = time.perf_counter()
        print(f"stopped: {time.perf_counter() - stopping:.2f} s")


if __name__ == "__main__":
    uvloop.run(_main())
