"""Speed of the whole data plane on the real engine: REST API to Lambda, direct invoke, event source mappings, memory.

Run it with ``make bench``; it prints one line for each figure, with the figure aimed at, and fails none.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import uvloop

from testbed import deploy
from testbed.running import RunningTestbed, running_testbed

CLIENTS = 16
REQUESTS = 8000
MESSAGES = 2000
RECORDS = 12_000
LONG_RUN = 100_000
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


async def _storm(url: str, path: str, headers: str = "", requests: int = REQUESTS) -> str:
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
    await asyncio.gather(*(_send(address, int(port), request, times, requests // CLIENTS) for _ in range(CLIENTS)))
    rate = len(times) / (time.perf_counter() - started)
    times.sort()
    return f"{rate:.0f}/s, p50 {times[len(times) // 2]:.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms"


async def _rest_api(bed: RunningTestbed, folder: Path) -> str:
    (folder / "fast").mkdir()
    (folder / "fast" / "at_once.py").write_text(_AT_ONCE)
    arn = await asyncio.to_thread(deploy.function, bed.aws, "fast", folder / "fast", "at_once.handler")
    url = await asyncio.to_thread(deploy.rest_api, bed.aws, "fast", "POST", "/orders", arn)
    return "REST API -> Lambda, 16 clients (2,000/s): " + await _storm(url, urlsplit(url).path + "/orders")


async def _invoke(bed: RunningTestbed, requests: int = REQUESTS) -> str:
    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
    path = "/2015-03-31/functions/fast/invocations"
    figures = await _storm(bed.aws.endpoint_url, path, f"Authorization: {scope}\r\n", requests)
    return "Invoke, 16 clients (2,500/s, p99 20 ms): " + figures


async def _memory(bed: RunningTestbed) -> str:
    """Resident memory of the plane while it does many invokes."""
    [plane] = [
        process
        for process in psutil.Process().children(recursive=True)
        if "testbed.gateway" in " ".join(process.cmdline())
    ]
    sizes = [plane.memory_info().rss]
    for _ in range(5):
        await _invoke(bed, LONG_RUN // 5)
        sizes.append(plane.memory_info().rss)
    told = ", ".join(f"{size / 2**20:.0f}" for size in sizes)
    return f"memory of the plane over {LONG_RUN:,} invokes (flat): {told} MB"


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
        ScalingConfig={"MaximumConcurrency": 50},
    )
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = MESSAGES
    while left:
        await asyncio.sleep(0.05)
        answer = await asyncio.to_thread(sqs.get_queue_attributes, QueueUrl=queue, AttributeNames=names)
        left = sum(int(answer["Attributes"][name]) for name in names)
    rate = MESSAGES / (time.perf_counter() - started)
    return f"SQS mapping, 2,000 messages, batch 10, 50 ms, 50 at once (1,000/s): {rate:.0f}/s"


async def _stream(bed: RunningTestbed) -> str:
    """Four shards, factor 4: up to 16 batches at once."""
    kinesis = bed.aws.client("kinesis")
    kinesis.create_stream(StreamName="bench", ShardCount=4)
    await asyncio.to_thread(kinesis.get_waiter("stream_exists").wait, StreamName="bench", WaiterConfig={"Delay": 1})
    stream = kinesis.describe_stream_summary(StreamName="bench")["StreamDescriptionSummary"]["StreamARN"]
    waiting = [{"Data": b"{}", "PartitionKey": str(number)} for number in range(RECORDS)]
    while waiting:
        answer = await asyncio.to_thread(kinesis.put_records, StreamName="bench", Records=waiting[:500])
        refused = [entry for entry, result in zip(waiting, answer["Records"], strict=False) if "ErrorCode" in result]
        waiting = refused + waiting[500:]
    started = time.perf_counter()
    await asyncio.to_thread(
        bed.aws.client("lambda").create_event_source_mapping,
        FunctionName="slow",
        EventSourceArn=stream,
        StartingPosition="TRIM_HORIZON",
        BatchSize=100,
        ParallelizationFactor=4,
    )
    done = 0
    while done < RECORDS:
        await asyncio.sleep(0.05)
        mappings = (await bed.plane.call("status"))["mappings"]
        done = sum(mapping["processed"] for mapping in mappings if mapping["source"] == stream)
    rate = RECORDS / (time.perf_counter() - started)
    return f"Kinesis mapping, 4 shards, batch 100, factor 4, 50 ms (1,500/s): {rate:.0f} records/s"


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
            print(await _stream(bed), flush=True)
            print(await _memory(bed), flush=True)
            stopping = time.perf_counter()
        print(f"stopped: {time.perf_counter() - stopping:.2f} s")


if __name__ == "__main__":
    uvloop.run(_main())
