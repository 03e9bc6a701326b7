import asyncio
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from ingestion_progress import track


async def pages(count):
    for number in range(count):
        await asyncio.sleep(0.05)
        yield number


async def ingest(name):
    async with track(name, stages=["parsing", "embedding"]) as job:
        async with job.stage("parsing", total=20, unit="pages") as parsing:
            async for page in parsing.aiterate(pages(20)):
                ...
        async with job.stage("embedding", total=20, unit="chunks") as embedding:

            async def embed(chunk):
                await asyncio.sleep(0.05)
                embedding.advance(key=chunk)

            await asyncio.gather(*map(embed, range(20)))
    return job.job_id


async def main():
    print(*await asyncio.gather(ingest("a.pdf"), ingest("b.pdf")))


if __name__ == "__main__":
    asyncio.run(main())
